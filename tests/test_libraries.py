"""Exported weights arrive in four libraries, by the configurations that docs/export.md shows."""

import functools
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from saip.checkpoint import CheckpointError, WeightsError, export_backbone
from saip.registry import MODELS
from tests.tiny import LARGE, ROOT

LIBRARIES = {
    'mmpretrain': 'mmpretrain',
    'mmpose': 'mmpose',
    'mmdetection': 'mmdet',
    'mmsegmentation': 'mmseg',
}
NAMES = sorted(path.stem for path in (ROOT / 'configs/_base_/backbones').glob('*.py'))
# Those of os16 have the same weights.
FRAGMENTS = [name for name in NAMES if not name.endswith('-os16') and name not in LARGE]
SIZES = [(256, 128), (96, 160)]
HERE = {'prefix': 'backbone.'}
TINY = """
backbone = dict(
    type='saip.ViTEncoder', feature_level=0, arch=dict(
        embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32))
embed_dims = 16
pyramid_channels = [4, 8, 16, 16]
"""


def require(library: str) -> None:
    try:
        importlib.import_module(f'{LIBRARIES[library]}.models')
    except (ImportError, AssertionError) as error:  # they assert the version of mmcv
        pytest.skip(f'{library} cannot be imported: {error}')


def fragment(name: str) -> str:
    return (ROOT / f'configs/_base_/backbones/{name}.py').read_text()


@functools.cache
def shown(library: str) -> str:
    """The lines that docs/export.md gives for a library."""
    text = (ROOT / 'docs/export.md').read_text()
    (code,) = re.findall(rf'^### {library}\n\n```python\n(.*?)```', text, re.M | re.DOTALL)
    return code


def perturbed(encoder: torch.nn.Module) -> torch.nn.Module:
    """No tensor keeps the value that a new encoder has, running statistics included."""
    for value in encoder.state_dict().values():
        value.add_(torch.rand_like(value) * 0.05 if value.is_floating_point() else 7)
    return encoder.eval()


def write_export(encoder: torch.nn.Module, text: str, folder: Path) -> Path:
    """Export an encoder from such a checkpoint as mmengine's Runner writes."""
    backbone = Config.fromstring(text, '.py').backbone
    stored = Config({'model': {'type': 'saip.SAIP', 'backbone': backbone}}).pretty_text
    tensors = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    checkpoint = {'state_dict': tensors, 'meta': {'cfg': stored, 'epoch': 1, 'iter': 1}}
    return export_backbone(checkpoint, folder, formats=('pth',))


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function from a fragment to its encoder and the encoder's exported file."""

    @functools.cache
    def make(name: str) -> tuple[Any, Path]:
        torch.manual_seed(1)
        try:
            encoder = MODELS.build(Config.fromstring(fragment(name), '.py').backbone)
        except ImportError as error:
            pytest.skip(str(error))
        encoder.init_weights()
        folder = tmp_path_factory.mktemp(name)
        return encoder, write_export(perturbed(encoder), fragment(name), folder)

    return make


@pytest.fixture(scope='module')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = MODELS.build(Config.fromstring(TINY, '.py').backbone)
    return write_export(encoder, TINY, tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def configure(tmp_path: Path) -> Any:
    """A function from a library, an encoder's lines and its init_cfg to a configuration."""

    def write(library: str, text: str, **init_cfg: Any) -> Config:
        require(library)
        init_cfg = {'type': 'Pretrained', **init_cfg}
        path = tmp_path / 'config.py'
        path.write_text(f'{text}\ninit_cfg = {init_cfg!r}\n{shown(library)}')
        return Config.fromfile(path)

    return write


def build(cfg: Config) -> Any:
    """The model as that library's Runner builds it."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return ROOT_MODELS.build(cfg.model)


def encoder_config(cfg: Config) -> Any:
    return cfg.model.backbone.get('encoder', cfg.model.backbone)


def encoder_in(model: Any) -> Any:
    return dict(model.backbone.named_children()).get('encoder', model.backbone)


def assert_all_arrived(source: Any, arrived: Any, size: tuple[int, int]) -> None:
    """All tensors are the source's; position embeddings are resampled here, independently."""
    expected, found = source.state_dict(), arrived.state_dict()
    assert found.keys() == expected.keys()
    if 'pos_embed' in expected:
        rows = expected['pos_embed'][0, 1:].T.unflatten(1, (16, 8))[None]
        grid = (size[0] // 16, size[1] // 16)
        rows = F.interpolate(rows, grid, mode='bicubic', align_corners=False)[0].flatten(1).T
        positions = found['pos_embed'][0]
        torch.testing.assert_close(positions[1:], rows, rtol=0, atol=1e-6)
        assert torch.equal(positions[0], expected['pos_embed'][0, 0])
        found['pos_embed'] = expected['pos_embed']
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@torch.no_grad()
def assert_same_features(source: Any, model: Any, size: tuple[int, int]) -> None:
    """What the library's backbone gives is what the source gives at the same strides."""
    images = torch.randn(1, 3, *size)
    found = model.eval().backbone(images)
    if found[0].ndim == 2:
        expected = [source.encode(images).image_token]
    else:
        strides = (4, 8, 16, 32) if len(found) == 4 else (max(source.map_channels),)
        own = [i for i, stride in enumerate(strides) if stride in source.map_channels]
        found = [found[i] for i in own]
        expected = source.feature_maps(images, [strides[i] for i in own])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.sampled(3)
@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize('name', FRAGMENTS)
@pytest.mark.parametrize('size', SIZES, ids=lambda size: f'{size[0]}x{size[1]}')
def test_all_weights_arrive(source, configure, library, name, size):
    encoder, path = source(name)
    cfg = configure(library, fragment(name), checkpoint=str(path), **HERE)
    encoder_config(cfg).img_size = size
    model = build(cfg)
    model.init_weights()
    assert type(model).__module__.startswith(f'{LIBRARIES[library]}.')
    assert_all_arrived(encoder, encoder_in(model), size)
    assert_same_features(encoder, model, size)


@pytest.mark.parametrize('library', LIBRARIES)
def test_all_weights_arrive_through_the_runner(
    source, configure, tmp_path, fresh_mmengine, library
):
    encoder, path = source('starnet-s3')
    cfg = configure(library, fragment('starnet-s3'), checkpoint=str(path), **HERE)
    cfg.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(cfg)
    runner._init_model_weights()  # what Runner.train does before its first iteration
    assert_all_arrived(encoder, encoder_in(runner.model), SIZES[0])


@pytest.mark.parametrize(('name', 'deconvolutions'), [('resnet18', 3), ('vit-tiny-p16', 2)])
def test_pose_head_of_each_stride_gives_the_heatmaps_of_the_inherited_config(
    source, configure, name, deconvolutions
):
    cfg = configure('mmpose', fragment(name), checkpoint='', **HERE)
    if deconvolutions == 2:
        (code,) = re.findall(
            r'head=(dict\(deconv_out.*\))`', (ROOT / 'docs/export.md').read_text()
        )
        cfg.merge_from_dict({'model': {'head': eval(code)}})
    model = build(cfg).eval()
    heatmaps = model(torch.zeros(1, 3, 256, 192), None, mode='tensor')
    assert heatmaps.shape == (1, 17, 64, 48)


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize(
    ('init_cfg', 'arch', 'message'),
    [
        ({}, {}, "has no prefix, so no key would match; write init_cfg=.*prefix='backbone.'"),
        (
            {'prefix': 'student.'},
            {},
            r"no key begins with 'student\.'; keys there begin with backbone\.; write init_cfg",
        ),
        (
            HERE,
            {'num_heads': 4},
            'arch.num_heads is 2 in the file and 4 in the model. Build the model with the values',
        ),
        (HERE, {'num_layers': 3}, 'arch.num_layers is 2 in the file and 3 in the model. Build'),
    ],
    ids=['missing prefix', 'wrong prefix', 'heads', 'depth'],
)
def test_what_does_not_fit_stops(tiny, configure, library, init_cfg, arch, message):
    cfg = configure(library, TINY, checkpoint=str(tiny), **init_cfg)
    encoder_config(cfg).arch.update(arch)
    with pytest.raises(WeightsError, match=message) as caught:
        build(cfg).init_weights()
    assert str(caught.value).startswith(str(tiny))


@pytest.mark.parametrize('library', LIBRARIES)
def test_truncated_file_stops(tiny, configure, tmp_path, library):
    half = tmp_path / 'half.pth'
    half.write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    model = build(configure(library, TINY, checkpoint=str(half), **HERE))
    with pytest.raises(CheckpointError, match=f'{half}: truncated, damaged.*again'):
        model.init_weights()


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize(
    ('stored', 'message'),
    [
        (
            'vit-tiny-p16',
            'type is saip.ViTEncoder in the file and saip.TimmEncoder in the model',
        ),
        ('starnet-s3', 'model is starnet_s3 in the file and resnet18 in the model. Build'),
    ],
)
def test_other_kind_of_encoder_stops(source, configure, library, stored, message):
    path = source(stored)[1]
    model = build(configure(library, fragment('resnet18'), checkpoint=str(path), **HERE))
    with pytest.raises(WeightsError, match=message):
        model.init_weights()


@pytest.mark.parametrize('library', LIBRARIES)
def test_other_encoder_stops_without_a_word_about_it_in_the_file(
    source, configure, tmp_path, library
):
    bare = tmp_path / 'bare.pth'
    tensors = source('starnet-s3')[0].state_dict()
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in tensors.items()}}, bare)
    model = build(configure(library, fragment('resnet18'), checkpoint=str(bare), **HERE))
    message = (
        r'tensors of the model are missing: timm_model\.conv1.*keys match nothing: .*write'
    )
    with pytest.raises(WeightsError, match=message):
        model.init_weights()
