"""Every leaf config resolves, is short, and builds, with every encoder if it takes any."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from saip.engine.launch import StartError, read_config
from saip.errors import InputError
from saip.registry import MODELS
from tests.tiny import ROOT

LEAVES = sorted(
    path for path in (ROOT / 'configs/pretrain').glob('*/*.py') if '_base_' not in path.parts
)
DEFAULT_METHOD = 'saip-small'  # of the leaf that takes any
ANY_BACKBONE = [path for path in LEAVES if '_any-backbone_' in path.name]
FRAGMENTS = sorted((ROOT / 'configs/_base_/backbones').glob('*.py'))
NO_STAGES = ('cspnext-s', 'edgenext-s', 'efficientnet-lite0', 'patch-resnet', 'resnet18')
NEEDS_A_VIT = ('cae', 'hap', 'mae', 'mae-dino')
# Tables I and III of the paper, in millions, and whether that count includes a classifier of
# 1000 classes.
PAPER_SIZES = {
    'cspnext-s': (4.4, False),
    'edgenext-s': (5.6, True),
    'resnet18': (11, False),
    'starnet-s3': (5.8, True),
    'tinyvit-5m': (5.4, True),
    'vit-tiny-p16': (5.5, False),
}


def build(cfg: Config) -> torch.nn.Module:
    """The algorithm, without memory for its tensors."""
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def fragment_of(leaf: Path) -> str:
    """The encoder that a leaf takes: its name says it, or it is the default of any-backbone."""
    name = leaf.stem.split('_')[1]
    if name != 'any-backbone':
        return name
    return re.findall(r'backbones/\{\{\$SAIP_BACKBONE:([\w-]+)\}\}\.py', leaf.read_text())[0]


def assert_size_of_the_paper(encoder: torch.nn.Module, fragment: str) -> None:
    if fragment not in PAPER_SIZES:
        return
    stated, with_classifier = PAPER_SIZES[fragment]
    count = sum(p.numel() for p in encoder.parameters())
    if with_classifier:
        count += (encoder.embed_dims + 1) * 1000
    assert round(count / 1e6, 1 if isinstance(stated, float) else None) == stated


@pytest.mark.parametrize('path', FRAGMENTS, ids=lambda path: path.stem)
def test_a_fragment_states_its_size(path):
    """At 256x128: learnt positions count."""
    cfg = Config.fromfile(path)
    with torch.device('meta'):
        encoder = MODELS.build({**cfg.backbone, 'img_size': (256, 128)})
    (stated,) = re.findall(r'^# [^\n]*?: ([\d.]+)M parameters', path.read_text())
    count = sum(p.numel() for p in encoder.parameters()) / 1e6
    assert f'{count:.{len(stated.partition(".")[2])}f}' == stated
    assert_size_of_the_paper(encoder, path.stem)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf(path):
    lines = path.read_text().rstrip().split('\n')
    assert len(lines) <= 15
    assert lines[0].startswith('# '), 'a leaf opens with its command'
    cfg = Config.fromfile(path)
    method = path.stem.split('_')[0]
    assert cfg.preset == (DEFAULT_METHOD if method == 'any-method' else method)
    model = build(cfg)
    assert_size_of_the_paper(model.backbone, fragment_of(path))
    assert path.name in lines[0] or 'make quickstart' in lines[0]
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end
    gpus, batch = map(int, re.findall(r'_(\d)xb(\d+)-', path.stem)[0])
    if 'quickstart' not in path.parts and batch > 32:
        accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
        assert cfg.train_dataloader.batch_size == batch
        assert cfg.auto_scale_lr.base_batch_size == gpus * batch * accumulated
    types = [hook.type for hook in cfg.custom_hooks]
    assert all(name.startswith('saip.') for name in types)
    assert cfg.default_hooks.progress.type == 'saip.ProgressHook'


def test_a_leaf_exists_for_each_encoder_that_the_paper_pretrains():
    on_lup1m = {path.stem.split('_')[1] for path in LEAVES if path.stem.endswith('300e_lup1m')}
    assert {'vit-tiny-p16', 'starnet-s3', 'tinyvit-5m', 'any-backbone'} <= on_lup1m


@pytest.mark.sampled(3)
@pytest.mark.parametrize('path', ANY_BACKBONE, ids=lambda path: path.stem)
@pytest.mark.parametrize('fragment', FRAGMENTS, ids=lambda path: path.stem)
def test_any_backbone(path, fragment, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', fragment.stem)
    cfg = read_config(str(path))
    wanted = Config.fromfile(fragment)
    options = cfg.encoder_options if 'encoder_options' in path.read_text() else {}
    assert cfg.model.backbone == {**wanted.backbone, **options}
    if path.parent.name in NEEDS_A_VIT and not fragment.stem.startswith('vit-'):
        with pytest.raises(InputError, match=r'hidden patches left out.* a plain ViT'):
            build(cfg)
        return
    if path.parent.name == 'solider' and fragment.stem in NO_STAGES:  # CSPNeXt has no drop path
        with pytest.raises(InputError, match=r'controller.* no stages|no stochastic depth'):
            build(cfg)
        return
    model = build(cfg)
    assert model.backbone.embed_dims == wanted.embed_dims
    assert_size_of_the_paper(model.backbone, fragment.stem)
    if path.parent.name != 'quickstart':  # which names its folder itself
        # Runs with different encoders must not share a folder.
        own = path.stem.replace('any-backbone', fragment.stem)
        own = own.replace('any-method', DEFAULT_METHOD)
        assert cfg.work_dir == f'work_dirs/{own}'


def test_an_encoder_of_its_own_leaf_is_the_one_of_any_backbone(monkeypatch):
    folder = ROOT / 'configs/pretrain/saip'
    path = folder / 'saip_any-backbone_8xb256-amp-coslr-300e_lup1m.py'
    for fragment in ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m'):
        monkeypatch.setenv('SAIP_BACKBONE', fragment)
        cfg = Config.fromfile(path)
        own = Config.fromfile(folder / path.name.replace('any-backbone', fragment))
        assert {**own.to_dict(), 'work_dir': cfg.work_dir} == cfg.to_dict()


def test_an_unknown_backbone_is_answered_with_those_that_exist(monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet')
    with pytest.raises(StartError) as caught:
        read_config(str(ANY_BACKBONE[0]))
    message = str(caught.value)
    assert message.startswith(f'{ANY_BACKBONE[0]}: SAIP_BACKBONE=starnet: ')
    assert 'backbones/starnet.py' in message
    assert message.endswith(f'choose one of {", ".join(sorted(p.stem for p in FRAGMENTS))}')


def test_another_missing_base_is_named_without_a_variable(tmp_path):
    (tmp_path / 'leaf.py').write_text("_base_ = './bases/missing.py'\n")
    with pytest.raises(StartError, match=r'leaf.py: there is no .*bases/missing.py$'):
        read_config(str(tmp_path / 'leaf.py'))


def test_a_missing_config_of_a_library_is_one_line_too(tmp_path):
    (tmp_path / 'leaf.py').write_text("_base_ = 'mmpretrain::resnet/missing.py'\n")
    with pytest.raises(StartError, match=r'leaf.py: .*missing.py'):
        read_config(str(tmp_path / 'leaf.py'))


def test_dumped_configs_reload_equal(tmp_path):
    cfg = Config.fromfile(LEAVES[0])
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_table_viii_of_the_paper():
    cfg = Config.fromfile(
        ROOT / 'configs/pretrain/saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
    )
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.95)
    assert optimizer.lr == pytest.approx(2.5e-4 * 2048 / 256)
    assert cfg.train_dataloader.batch_size == 256
    assert cfg.param_scheduler[0].end == 10
    assert cfg.train_cfg.max_epochs == 300
