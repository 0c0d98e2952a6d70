"""Whoever replays a step that cannot be replayed is told why in one line."""

import json
from pathlib import Path

import pytest

from saip.analysis.replay import KEYS, skipped_rows
from saip.engine import launch
from saip.engine.hooks.skipped_steps import FILE
from saip.errors import InputError
from tests.tools import call_tool

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
ROW = {
    'not_finite': ['loss'],
    'rank': 0,
    'samples': ['a.jpg'],
    'micro_batches': [[1, [[0, 17]]]],
    'processes': 1,
    'steps_per_epoch': 2,
    'max_iters': 6,
    'accumulated': 1,
}


def line(**changes: object) -> str:
    return json.dumps({**ROW, **changes})


def test_the_lines_of_a_run_are_read(tmp_path):
    (tmp_path / FILE).write_text(f'{line()}\n{line(rank=1)}\n')
    assert [row['rank'] for row in skipped_rows(tmp_path)] == [0, 1]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (line()[:40], 'line 0 is damaged'),
        ('[1]', 'line 0 has no not_finite: written by an earlier version'),
        (line(micro_batches=[[1, []]]), 'line 0 has no keys of images'),
        (line(micro_batches=[[1, ['a.jpg']]]), 'line 0 has no keys of images'),
        *(
            (json.dumps({k: v for k, v in ROW.items() if k != key}), f'line 0 has no {key}')
            for key in KEYS
        ),
    ],
)
def test_a_line_that_says_too_little_is_named(tmp_path, text, said):
    (tmp_path / FILE).write_text(f'{text}\n')
    with pytest.raises(InputError, match=said) as error:
        skipped_rows(tmp_path)
    assert str(tmp_path / FILE) in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({}, 'only steps of a pretraining can be replayed'),
        ({'model.type': 'mmengine.NormedLine', 'model.width': 3}, "argument 'width'|width"),
        ({'model.type': 'ToyLin'}, 'ToyLin is not in the'),
    ],
)
def test_what_is_no_pretraining_of_this_run_is_one_line(
    toy_config, tmp_path, monkeypatch, capsys, changes, said
):
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    (tmp_path / 'work' / FILE).write_text(f'{line()}\n')
    capsys.readouterr()
    config = toy_config('other', **changes)
    assert (
        call_tool(monkeypatch, 'analysis_tools/replay_step.py', config, tmp_path / 'work') == 2
    )
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said.split('|')[-1] in error


def test_the_weights_of_another_model_are_named(toy_config, tmp_path, monkeypatch, capsys):
    """The checkpoint is of a line, the configuration of a pretraining."""
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    (tmp_path / 'work' / FILE).write_text(f'{line()}\n')
    capsys.readouterr()
    monkeypatch.setenv('SAIP_PEOPLE', str(tmp_path))
    config = 'configs/pretrain/saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py'
    options = [Path(__file__).parents[2] / config, tmp_path / 'work']
    assert call_tool(monkeypatch, 'analysis_tools/replay_step.py', *options) == 2
    error = capsys.readouterr().err
    assert 'epoch_1.pth: not the weights of this model' in error
