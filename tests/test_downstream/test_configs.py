"""Every task's configuration resolves and builds, with every encoder that the paper pretrains."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS, DefaultScope
from mmengine.registry import MODELS as ROOT_MODELS

from saip.engine.launch import StartError, read_config
from tests.tiny import LARGE, ROOT

LEAVES = sorted(
    path for path in (ROOT / 'configs/downstream').glob('*/*.py') if '_base_' not in path.parts
)
FRAGMENTS = sorted(path.stem for path in (ROOT / 'configs/_base_/backbones').glob('*.py'))
PRETRAINED = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
OTHERS = [name for name in FRAGMENTS if name not in (*PRETRAINED, *LARGE)]

every_leaf = pytest.mark.parametrize('leaf', LEAVES, ids=lambda path: path.stem)


def read(leaf: Path) -> Config:
    """The configuration; skipped where its library or the encoder's is not installed."""
    library = re.findall(r'\bmm(?:pretrain|det|pose|seg)\b', leaf.read_text())
    for name in {'mmpretrain', *library}:
        try:
            importlib.import_module(f'{name}.models')
        except (ImportError, AssertionError) as error:  # they assert the version of mmcv
            pytest.skip(f'{name} cannot be imported: {error}')
    return read_config(str(leaf))


def build(cfg: Config) -> torch.nn.Module:
    """The model as the Runner builds it."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return ROOT_MODELS.build(cfg.model)


def encoder_config(cfg: Config) -> Config:
    return cfg.model.backbone.get('encoder', cfg.model.backbone)


@pytest.mark.sampled(2)
@every_leaf
@pytest.mark.parametrize('backbone', PRETRAINED)
def test_builds_with_each_pretrained_encoder(leaf, backbone, monkeypatch):
    builds_with(leaf, backbone, monkeypatch)


@pytest.mark.slow
@every_leaf
@pytest.mark.parametrize('backbone', OTHERS)
def test_builds_with_each_other_encoder(leaf, backbone, monkeypatch):
    builds_with(leaf, backbone, monkeypatch)


def builds_with(leaf: Path, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    cfg = read(leaf)
    fragment = Config.fromfile(ROOT / f'configs/_base_/backbones/{backbone}.py')
    assert fragment.backbone.items() <= encoder_config(cfg).items()
    try:
        model = build(cfg)
    except ImportError as error:  # the encoder's library, named by the error
        pytest.skip(str(error))
    assert any(p.requires_grad for p in model.parameters())
    # Runs with different encoders must not share a folder.
    assert backbone in cfg.work_dir
    assert leaf.stem in cfg.work_dir


@every_leaf
def test_bad_images_are_counted_in_training_and_none_stands_in_for_a_tested_one(leaf):
    cfg = read(leaf)
    assert cfg.default_hooks.bad_files == dict(type='saip.BadFilesHook')
    for loader in ('val_dataloader', 'test_dataloader'):
        dataset = cfg[loader].dataset
        assert dataset.get('test_mode') or dataset.get('split') in ('val', 'test')


@every_leaf
def test_opens_with_its_command_and_the_figure_of_the_paper(leaf):
    lines = leaf.read_text().splitlines()
    comment = '\n'.join(line for line in lines[:6] if line.startswith('#'))
    assert lines[0].startswith('# ')
    assert str(leaf.relative_to(ROOT)) in lines[0]
    assert re.search(r'paper.*\d\d\.\d|\d\d\.\d.*paper', comment, re.DOTALL)


@every_leaf
def test_its_slice_is_named_by_the_configuration_alone(leaf):
    """A child's ``custom_imports`` replaces the list of its base, so both stand in one."""
    assert f'saip.downstream.{leaf.parent.name}' in read(leaf).custom_imports.imports
    assert 'saip.downstream' not in (ROOT / 'saip/registry.py').read_text()


@every_leaf
def test_weights_and_data_come_from_outside(leaf, monkeypatch):
    assert encoder_config(read(leaf)).init_cfg is None
    monkeypatch.setenv('SAIP_INIT', 'weights.pth')
    monkeypatch.setenv('SAIP_DATA', '/somewhere')
    cfg = read(leaf)
    expected = dict(type='Pretrained', checkpoint='weights.pth', prefix='backbone.')
    assert encoder_config(cfg).init_cfg == expected
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert str(loader.dataset.data_root).startswith('/somewhere/')


@every_leaf
def test_results_of_processes_meet_without_a_shared_disk(leaf):
    cfg = read(leaf)
    tested = (
        cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    )
    for evaluator in (cfg.val_evaluator, *tested):
        device = evaluator.get('collect_device')
        if device is None:  # ours need not be told, the libraries' go through files by default
            metric = METRICS.get(evaluator.type)
            device = inspect.signature(metric).parameters['collect_device'].default
        assert device == 'gpu'


@every_leaf
@pytest.mark.parametrize('scale', [0.25, 0.5, 0.75])
def test_the_schedule_scales(leaf, scale, monkeypatch):
    full = read(leaf)
    monkeypatch.setenv('SAIP_SCHEDULE', str(scale))
    part = read(leaf)
    # Whole epochs: rounded.
    assert part.train_cfg.max_epochs == pytest.approx(scale * full.train_cfg.max_epochs, abs=1)
    for one, other in zip(scheduled(full), scheduled(part), strict=True):
        assert other == pytest.approx(scale * one, abs=1)


def scheduled(cfg: Config) -> list[float]:
    """Ends and milestones of all schedules, in their order."""
    schedulers = cfg.param_scheduler
    found: list[float] = []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        found += [scheduler[key] for key in ('begin', 'end', 'T_max') if key in scheduler]
        found += scheduler.get('milestones', [])
    return found


@pytest.mark.parametrize('scale', ['25', '0', 'nan', '25%', '-1'])
def test_a_schedule_that_is_no_share_is_refused(scale, monkeypatch):
    monkeypatch.setenv('SAIP_SCHEDULE', scale)
    with pytest.raises(
        StartError, match=f'SAIP_SCHEDULE={scale}: a share of the full schedule'
    ):
        read_config(str(LEAVES[0]))


@pytest.mark.parametrize('scale', ['0.25', '0.5', '0.75', '1'])
def test_the_documented_epochs_are_those_of_the_configurations(scale, monkeypatch):
    page = (ROOT / 'docs/downstream.md').read_text()
    table = page[page.index('| epochs, and') :].split('\n\n')[0]
    shares, *rows = re.findall(r'^\| (.+) \|$', table, re.M)
    column = shares.split(' | ').index(scale)
    monkeypatch.setenv('SAIP_SCHEDULE', scale)
    leaves = {path.stem: path for path in LEAVES}
    for row in rows:
        cells = row.split(' | ')
        if cells[0].startswith('`'):
            name = cells[0].split('`')[1]
            documented = int(cells[column].split(':')[0])
            assert read(leaves[name]).train_cfg.max_epochs == documented, name
