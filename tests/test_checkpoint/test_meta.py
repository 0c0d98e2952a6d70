"""A checkpoint of a pretraining says what it trains; older ones hold the text of their config."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from saip.checkpoint import (
    CheckpointError,
    config_text,
    describe_encoder,
    describe_training,
    encoder_of,
    export_backbone,
    load_checkpoint_file,
    load_encoder,
    replace_config,
    stored_architecture,
    stored_feature,
)
from saip.checkpoint.meta import frozen_expert_file
from saip.engine.hooks import AtomicCheckpointHook, ExportBackboneHook
from saip.experiments.compared_encoders import find_compared_encoders
from saip.registry import MODELS
from tests.test_checkpoint.checkpoint_files import CONFIG, small_encoder
from tests.tiny import build, preset_config

KEYS = {'architecture', 'embed_dims', 'preset', 'objectives', 'data', 'statistics', 'feature'}
POISON = 'model = open("/etc/passwd")  # saip.SAIP'


def modern(checkpoint: dict[str, Any], cfg: str = POISON) -> dict[str, Any]:
    """An older checkpoint as it is written today, with another text in the place of its config."""
    described = describe_training(Config(CONFIG), small_encoder())
    return {**checkpoint, 'meta': {**checkpoint['meta'], 'cfg': cfg, **described}}


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of configurations cannot be parsed, nor can encoders be built."""

    def fail(*args: object) -> None:
        raise AssertionError('this needs neither a text nor an encoder')

    monkeypatch.setattr(config_text.ast, 'parse', fail)
    monkeypatch.setattr(MODELS, 'build', fail)


@pytest.mark.parametrize('cfg', [POISON, ''])
@pytest.mark.parametrize('which', ['student', 'expert'])
def test_no_text_of_a_config_is_needed(training: Path, tmp_path: Path, cfg, which) -> None:
    old = load_checkpoint_file(training)
    new = tmp_path / 'new.pth'
    torch.save(modern(old, cfg), new)
    encoder, meta = load_encoder(new, which)
    expected, told = load_encoder(training, which)
    assert meta == told
    assert encoder.state_dict().keys() == expected.state_dict().keys()
    # The exported files are the same, byte by byte.
    first = export_backbone(old, tmp_path / 'old', which)
    second = export_backbone(load_checkpoint_file(new), tmp_path / 'new', which)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_parsed_or_built_to_say_what_a_file_holds(training: Path, unread) -> None:
    meta = modern(load_checkpoint_file(training))['meta']
    assert stored_architecture(meta) == meta['architecture']
    assert frozen_expert_file(meta) is None
    described = describe_encoder(meta, SimpleNamespace(architecture=dict, embed_dims=16))
    assert (described['preset'], described['data']) == ('saip', ['LUP1M'])
    assert described['statistics']['mean'] == [1.0, 2.0, 3.0]
    assert (described['epoch'], described['iteration']) == (3, 30)


def test_an_older_file_says_the_same(training: Path) -> None:
    old = load_checkpoint_file(training)['meta']
    new = modern({'meta': old})['meta']
    assert not KEYS & set(old)
    assert stored_architecture(old) == new['architecture']
    assert describe_encoder(old, small_encoder()) == describe_encoder(new, small_encoder())


def test_the_feature_of_evaluation_travels_from_the_training_to_the_export(
    training: Path, tmp_path: Path
) -> None:
    """Older files say it by the text of their configuration, or not at all."""
    config = Config(CONFIG)
    config.model.feature = 'patch_mean'
    old = load_checkpoint_file(training)
    assert stored_feature(old['meta']) == 'image_token'
    old['meta']['cfg'] = config.pretty_text
    new = {**old, 'meta': {**old['meta'], **describe_training(config, small_encoder())}}
    new['meta']['cfg'] = POISON
    before = {**old, 'meta': {k: v for k, v in new['meta'].items() if k != 'feature'}}
    assert stored_feature(before['meta']) == 'image_token'  # its text cannot be read
    before['meta']['cfg'] = config.pretty_text
    for checkpoint in (old, new, before):
        assert stored_feature(checkpoint['meta']) == 'patch_mean'
        exported = load_encoder(export_backbone(checkpoint, tmp_path))[1]
        assert exported['feature'] == 'patch_mean'
    del exported['feature']
    assert stored_feature(exported) == 'image_token'
    given = replace_config(new['meta'], Config(CONFIG).pretty_text)
    assert stored_feature(given) == 'image_token'


def test_a_frozen_expert_is_named_and_not_looked_for(training: Path) -> None:
    config = Config(CONFIG)
    config.model.expert = dict(type='saip.FrozenExpert', checkpoint='path.pth')
    checkpoint = load_checkpoint_file(training)
    checkpoint['meta'] |= describe_training(config, small_encoder())
    checkpoint['meta']['cfg'] = POISON
    assert encoder_of(checkpoint, 'student')
    with pytest.raises(CheckpointError, match=r'frozen.*nothing to export.*path\.pth'):
        encoder_of(checkpoint, 'expert')


def test_candidates_take_the_stored_statistics(tmp_path: Path) -> None:
    """Those of the run without its text; a given config takes its place."""
    config = Config(CONFIG)
    config.model.data_preprocessor.update(std=[9.0, 9.0, 9.0])
    encoder = small_encoder()
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    described = describe_training(config, encoder)
    torch.save({'state_dict': state, 'meta': {'cfg': POISON, **described}}, tmp_path / 'x.pth')
    found = find_compared_encoders(str(tmp_path / 'x.pth'))
    assert found.preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert found.preprocessor.std.flatten().tolist() == [9, 9, 9]
    config.model.data_preprocessor.std = [8.0, 8.0, 8.0]
    (tmp_path / 'other.py').write_text(config.pretty_text)
    found = find_compared_encoders(str(tmp_path / 'x.pth'), str(tmp_path / 'other.py'))
    assert found.preprocessor.std.flatten().tolist() == [8, 8, 8]


def test_another_config_replaces_what_a_training_says_but_not_what_an_export_says() -> None:
    described = describe_training(Config(CONFIG), small_encoder())
    replaced = replace_config({'cfg': 'old', 'epoch': 3, **described}, 'new')
    assert replaced == {'cfg': 'new', 'epoch': 3}
    exported = {'architecture': described['architecture'], 'which': 'student'}
    assert replace_config(exported, 'new') == {**exported, 'cfg': 'new'}


# What a run writes


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    model = build('saip')
    return SimpleNamespace(
        cfg=preset_config('saip'),
        model=model,
        work_dir=str(tmp_path / 'run'),
        message_hub=SimpleNamespace(get_info=lambda key: 'this run'),
        epoch=1,
        iter=4,
        _train_loop=None,  # not built, so no steps are counted
        call_hook=lambda *args, **kwargs: None,
        logger=SimpleNamespace(info=lambda text: None),
    )


def test_the_checkpoint_hook_describes_a_pretraining(runner, tmp_path: Path) -> None:
    checkpoint: dict[str, Any] = {
        'state_dict': runner.model.state_dict(),
        'meta': {'cfg': POISON, 'epoch': 1, 'iter': 4},
    }
    AtomicCheckpointHook().before_save_checkpoint(runner, checkpoint)
    assert set(checkpoint['meta']) >= KEYS
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    for which in ('student', 'expert'):
        encoder, meta = load_encoder(tmp_path / 'epoch_1.pth', which)
        assert meta['architecture'] == encoder.architecture()
        assert (meta['preset'], meta['epoch']) == ('saip', 1)
        assert set(meta['objectives']) >= {'csm', 'csr', 'css'}
    export_backbone(load_checkpoint_file(tmp_path / 'epoch_1.pth'), tmp_path)


def test_the_checkpoint_hook_leaves_other_runs_as_they_are() -> None:
    checkpoint: dict[str, Any] = {'meta': {'epoch': 1}}
    hub = SimpleNamespace(get_info=lambda key: 'this run')
    other = SimpleNamespace(
        cfg=Config({}), model=nn.Linear(1, 1), _train_loop=None, message_hub=hub
    )
    AtomicCheckpointHook().before_save_checkpoint(other, checkpoint)
    assert checkpoint['meta'] == {'epoch': 1, 'run_id': 'this run'}


def test_exports_while_training_need_no_hook_and_no_text(runner) -> None:
    ExportBackboneHook().export(runner, epoch=2)
    (path,) = Path(runner.work_dir, 'backbones').glob('*.pth')
    encoder, meta = load_encoder(path)
    assert (meta['epoch'], meta['iteration'], meta['preset']) == (2, 4, 'saip')
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, runner.model.backbone.state_dict()[key])
