"""Downstream results are read from logs, costs are counted, both meet in one chart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from saip.analysis.flops import encoder_cost
from saip.errors import InputError, MissingFileError
from saip.experiments.encoder_results import (
    EncoderResult,
    read_result,
    read_results,
    write_results,
)
from saip.registry import MODELS
from saip.visualization.cost_chart import LARGEST, draw_cost_chart
from saip.visualization.curves import COLORS
from tests.tiny import ROOT
from tests.tools import call_tool

FRAGMENTS = ROOT / 'configs/_base_/backbones'
SIZE = (256, 128)


def backbone(name: str, **options) -> dict:
    return {**Config.fromfile(FRAGMENTS / f'{name}.py').backbone.to_dict(), **options}


def log(work_dir: Path, time: str, model: dict, tested=None, validated=()) -> Path:
    """What mmengine leaves of a run that began at ``time``."""
    folder = work_dir / time / 'vis_data'
    folder.mkdir(parents=True)
    Config({'model': model}).dump(folder / 'config.py')
    lines = [{'loss': 1.0, 'iter': 1, 'step': 1, 'time': 0.1}]
    lines += [{**values, 'step': i + 1, 'time': 0.2} for i, values in enumerate(validated)]
    text = ''.join(f'{json.dumps(line)}\n' for line in lines)
    (folder / 'scalars.json').write_text(text)
    if tested is not None:
        (work_dir / time / f'{time}.json').write_text(json.dumps({**tested, 'time': 0.3}))
    return work_dir


def test_the_last_validation_and_what_its_encoder_costs(tmp_path):
    weights = dict(type='Pretrained', checkpoint='runs/saip-lup1m.pth', prefix='backbone.')
    model = {'backbone': backbone('vit-tiny-p16', img_size=(256, 192), init_cfg=weights)}
    log(tmp_path, '20260101_000000', model, validated=[{'coco/AP': 0.4}, {'coco/AP': 0.6}])
    found = read_result(tmp_path, 'coco/AP', FRAGMENTS, SIZE)
    assert (found.series, found.encoder, found.value) == ('saip-lup1m', 'vit-tiny-p16', 0.6)
    encoder = MODELS.build(backbone('vit-tiny-p16', img_size=SIZE))
    assert found.parameters == sum(p.numel() for p in encoder.parameters())
    # A multiply-add as two operations: 128 + 1 tokens, 12 blocks of width 192, 16x16 patches.
    tokens, dims = 129, 192
    linear = tokens * dims * dims * (3 + 1 + 4 + 4)
    attention = 2 * tokens * tokens * dims
    embedding = 128 * 16 * 16 * 3 * dims
    assert found.gflops == pytest.approx(
        2e-9 * (12 * (linear + attention) + embedding), rel=1e-6
    )


def test_the_newest_of_tests_and_validations_counts(tmp_path):
    model = {'backbone': backbone('resnet18')}
    log(tmp_path, '20260101_000000', model, validated=[{'mAP': 1.0}])
    log(tmp_path, '20260102_000000', model, tested={'mAP': 2.0})
    log(tmp_path, '20260103_000000', model)  # stopped before its first validation

    def read(**options) -> EncoderResult:
        return read_result(tmp_path, 'mAP', FRAGMENTS, SIZE, **options)

    assert read().value == 2.0
    assert read().source.endswith('20260102_000000/20260102_000000.json')
    assert (read().series, read(series='own').series) == ('from scratch', 'own')
    log(tmp_path, '20260104_000000', model, validated=[{'mAP': 3.0}])
    assert read().value == 3.0


@pytest.mark.parametrize('name', ['vit-4blocks-p16', 'starnet-s3'])
def test_a_controller_is_counted_as_exported(name):
    """Folded into the norms, it costs nothing."""
    told = encoder_cost(backbone(name, controller={'condition': 0.2}), SIZE)
    assert told == encoder_cost(backbone(name), SIZE)


@pytest.mark.parametrize(
    ('encoder', 'preprocessor', 'expected'),
    [
        ({'img_size': (128, 64)}, {'size': (64, 32)}, (128, 64)),
        ({}, {'size': 224}, (224, 224)),
        ({}, {'size': [473, 473]}, (473, 473)),
        ({}, {'mean': [0.0]}, None),
    ],
)
def test_the_size_of_the_training_as_its_configuration_says_it(
    tmp_path, encoder, preprocessor, expected
):
    model = {
        'backbone': backbone('vit-4blocks-p16', **encoder),
        'data_preprocessor': preprocessor,
    }
    log(tmp_path, '1', model, tested={'AP': 1.0})
    found = read_result(tmp_path, 'AP', FRAGMENTS, SIZE)
    assert (found.size, found.trained_size) == (SIZE, expected)
    (tmp_path / 'a.json').write_text(write_results([found]))
    assert read_results(tmp_path / 'a.json') == [found]
    rows = json.loads((tmp_path / 'a.json').read_text())
    del rows[0]['trained_size']  # as earlier versions wrote it
    (tmp_path / 'a.json').write_text(json.dumps(rows))
    assert read_results(tmp_path / 'a.json') == [replace(found, trained_size=None)]


def test_the_tool_warns_of_another_size_than_the_trainings(tmp_path, monkeypatch, capsys):
    model = {'backbone': backbone('vit-4blocks-p16', img_size=(128, 64))}
    log(tmp_path / 'run', '1', model, tested={'AP': 1.0})

    def run(*options: object) -> str:
        arguments = (tmp_path / 'run', '--metric', 'AP', '--out', tmp_path / 'a.png', *options)
        assert call_tool(monkeypatch, 'visualization/draw_costs.py', *arguments) == 0
        return capsys.readouterr().err

    warned = run()
    assert warned.count('\n') == 1
    assert 'trained at 128x64, but operations are counted at 256x128; --size 128 64' in warned
    assert run('--size', 128, 64) == ''


def test_encoders_in_a_pyramid_and_without_a_fragment(tmp_path):
    wrapped = {'type': 'saip.FeaturePyramid', 'encoder': backbone('starnet-s3')}
    log(tmp_path / 'a', '1', {'backbone': wrapped}, tested={'AP': 1.0})
    assert read_result(tmp_path / 'a', 'AP', FRAGMENTS, SIZE).encoder == 'starnet-s3'
    own = {'type': 'saip.TimmEncoder', 'model': 'test_resnet'}
    log(tmp_path / 'b', '1', {'backbone': own}, tested={'AP': 1.0})
    assert read_result(tmp_path / 'b', 'AP', FRAGMENTS, SIZE).encoder == 'saip.TimmEncoder'


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MissingFileError, match='neither'):
        read_result(tmp_path, 'AP', FRAGMENTS, SIZE)
    log(
        tmp_path,
        '1',
        {'backbone': {'type': 'mmpretrain.ResNet'}},
        tested={'AP': 1.0, 'AR': 2.0},
    )
    with pytest.raises(InputError, match='no mAP; there is AP, AR'):
        read_result(tmp_path, 'mAP', FRAGMENTS, SIZE)
    with pytest.raises(InputError, match='no encoder of this project'):
        read_result(tmp_path, 'AP', FRAGMENTS, SIZE)
    (tmp_path / '1/vis_data/config.py').unlink()
    with pytest.raises(MissingFileError, match='which encoder'):
        read_result(tmp_path, 'AP', FRAGMENTS, SIZE)


def point(series: str, encoder: str, value: float, parameters: int, gflops: float):
    return EncoderResult(series, encoder, 'AP', value, parameters, gflops, SIZE, 'log')


def test_discs_lie_where_the_numbers_are_and_cover_the_parameters():
    points = [point('a', 'one', 10.0, 2_000_000, 1.0), point('b', 'two', 30.0, 1_000_000, 3.0)]
    image = np.asarray(draw_cost_chart(points, 'AP', 'GFLOPs')).astype(int)
    places, areas = [], []
    for color in COLORS[:2]:
        found = _disc(image, color)
        rows, columns = np.nonzero(found)
        places.append((rows.mean(), columns.mean()))
        areas.append(found.sum())
    assert places[0][1] < places[1][1]  # fewer operations: to the left
    assert places[0][0] > places[1][0]  # a smaller value: below
    assert areas[0] / areas[1] == pytest.approx(2, rel=0.05)
    # A disc of LARGEST square points at 160 points per inch, of which there are 72.
    assert areas[0] == pytest.approx(LARGEST * (160 / 72) ** 2 * np.pi / 4, rel=0.05)


def _disc(image: np.ndarray, color: str) -> np.ndarray:
    """Where a translucent disc of a color lies below the legend; grid lines shine through."""
    solid = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    found = np.abs(image - (0.55 * solid + 0.45 * 255)).max(-1) < 25
    found[: len(image) // 10] = False
    return found


def test_the_tool_reads_what_it_wrote(tmp_path, monkeypatch, capsys):
    for name, value in (('vit-tiny-p16', 1.0), ('resnet18', 2.0)):
        log(tmp_path / name, '1', {'backbone': backbone(name)}, tested={'AP': value})
    out = tmp_path / 'costs.png'

    def run(*arguments: object) -> int:
        return call_tool(monkeypatch, 'visualization/draw_costs.py', *arguments)

    runs = [f'SAIP={tmp_path / name}' for name in ('vit-tiny-p16', 'resnet18')]
    assert run(*runs, '--metric', 'AP', '--out', out) == 0
    assert Image.open(out).width > 600
    written = read_results(out.with_suffix('.json'))
    assert [(r.series, r.encoder, r.value) for r in written] == [
        ('SAIP', 'vit-tiny-p16', 1.0),
        ('SAIP', 'resnet18', 2.0),
    ]
    again = tmp_path / 'again.png'
    assert run(out.with_suffix('.json'), '--metric', 'AP', '--out', again) == 0
    assert read_results(again.with_suffix('.json')) == written
    assert Image.open(out).tobytes() == Image.open(again).tobytes()
    capsys.readouterr()
    (tmp_path / 'other.json').write_text('{"a": 1}')
    assert run(*runs, '--metric', 'AP', '--out', tmp_path / 'costs.json') == 2
    assert 'costs.json: a PNG is written' in capsys.readouterr().err
    for arguments, message in (
        ((out.with_suffix('.json'), '--metric', 'AR'), 'not AR at 256x128'),
        ((out.with_suffix('.json'), '--metric', 'AP', '--size', 64, 32), 'not AP at 64x32'),
        ((tmp_path / 'other.json', '--metric', 'AP'), 'no list of results'),
        ((tmp_path / 'gone', '--metric', 'AP'), 'gone'),
    ):
        assert run(*arguments, '--out', again) == 2
        error = capsys.readouterr().err
        assert error.count('\n') == 1
        assert message in error
