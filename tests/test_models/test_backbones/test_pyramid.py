"""Feature pyramids: whose maps they are, ViTDet's rule written down again, what is refused."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from saip.checkpoint import WeightsError
from saip.models.backbones import FeaturePyramid
from saip.registry import MODELS
from tests.tiny import SMALL_FRAGMENTS

ARCH = dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)
VIT = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=0)
RESNET = dict(type='saip.TimmEncoder', model='resnet18')


def build(encoder: dict = VIT, **options: object) -> FeaturePyramid:
    pyramid = MODELS.build(dict(type='saip.FeaturePyramid', encoder=encoder, **options))
    pyramid.init_weights()
    return pyramid


@pytest.fixture(scope='module', params=SMALL_FRAGMENTS, ids=lambda path: path.stem)
def fragment(request: pytest.FixtureRequest) -> tuple[Config, FeaturePyramid]:
    cfg = Config.fromfile(request.param)
    torch.manual_seed(0)
    try:
        return cfg, build(cfg.backbone)
    except ImportError as error:
        pytest.skip(str(error))


def test_every_fragment_states_the_channels_of_its_pyramid(fragment):
    cfg, pyramid = fragment
    images = torch.randn(1, 3, 128, 64)
    with torch.no_grad():
        maps = pyramid.eval()(images)
    sizes = [(32, 16), (16, 8), (8, 4), (4, 2)]
    assert [x.shape[1] for x in maps] == cfg.pyramid_channels == pyramid.pyramid_channels
    assert [tuple(x.shape[2:]) for x in maps] == sizes


@pytest.mark.parametrize('size', [(97, 133), (133, 97), (64, 250), (33, 31)])
def test_any_size(fragment, size):
    """Maps cover the image, and a finer one has twice the cells of the next, give or take one."""
    _, pyramid = fragment
    with torch.no_grad():
        maps = pyramid.eval()(torch.randn(1, 3, *size))
    patches = [-(-side // 16) for side in size]
    assert list(maps[2].shape[2:]) == patches
    for x, factor in zip(maps[:2], (4, 2), strict=True):
        assert list(x.shape[2:]) == [factor * side for side in patches]
    for side, patch in zip(maps[3].shape[2:], patches, strict=True):
        assert side in (patch // 2, -(-patch // 2))  # EdgeNeXt drops an odd row, others pad


@pytest.mark.parametrize('batch', [1, 2])
def test_every_trainable_parameter_gets_a_gradient(fragment, batch):
    """Distributed training refuses parameters without one; frozen are norms of the token only."""
    _, pyramid = fragment
    pyramid.train().zero_grad()
    sum(x.square().mean() for x in pyramid(torch.randn(batch, 3, 64, 64))).backward()
    trainable = {name for name, p in pyramid.named_parameters() if p.requires_grad}
    with_gradient = {name for name, p in pyramid.named_parameters() if p.grad is not None}
    assert trainable == with_gradient
    frozen = {name for name, _ in pyramid.named_parameters()} - trainable
    assert all('.head.norm.' in name for name in frozen)
    assert all(x.isfinite().all() for x in pyramid.state_dict().values())


def test_maps_of_the_encoder_stay_unchanged(fragment):
    _, pyramid = fragment
    own = [key for key, stride in pyramid.encoder.map_strides.items() if key == stride]
    images = torch.randn(1, 3, 80, 48)
    with torch.no_grad():
        maps = dict(zip((4, 8, 16, 32), pyramid.eval()(images), strict=True))
        expected = {s: pyramid.encoder.feature_maps(images, [s])[0] for s in maps if s in own}
    assert all(torch.equal(maps[stride], expected[stride]) for stride in expected)
    has_own_layers = any(name.startswith('levels.') for name in pyramid.state_dict())
    assert has_own_layers is (len(pyramid.encoder.map_channels) == 1)


def deconvolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Each cell becomes 2x2 cells, each by a linear layer of its own."""
    out = torch.einsum('bchw,cdij->bdhiwj', x, weight)
    return out.flatten(4, 5).flatten(2, 3) + bias[:, None, None]


def test_maps_lie_in_memory_as_roi_align_reads_them(fragment):
    """mmcv's RoIAlign ignores strides: channels-last maps would give it other pixels."""
    ops = pytest.importorskip('mmcv.ops', reason='mmcv has no compiled operators')
    _, pyramid = fragment
    images = torch.randn(1, 3, 128, 64).contiguous(memory_format=torch.channels_last)
    lateral = torch.nn.Conv2d(pyramid(images)[0].shape[1], 8, 1)
    box = torch.tensor([[0.0, 3.0, 5.0, 50.0, 90.0]])
    align = ops.RoIAlign(7, spatial_scale=0.25, sampling_ratio=0)
    with torch.no_grad():
        maps = pyramid(images)
        assert all(x.is_contiguous() for x in maps)
        projected = lateral(maps[0])
        torch.testing.assert_close(
            align(projected, box),
            align(projected.clone(memory_format=torch.contiguous_format), box),
        )


def test_vitdet_rule():
    pyramid = build().eval()
    for value in pyramid.levels.state_dict().values():
        value.add_(torch.randn_like(value) * 0.1)
    images = torch.randn(2, 3, 96, 64)
    w = pyramid.levels.state_dict()
    with torch.no_grad():
        finest, fine, middle, coarse = pyramid(images)
        own = pyramid.encoder.encode(images).patch_tokens
    own = own.transpose(1, 2).reshape(2, 48, 6, 4)
    torch.testing.assert_close(middle, own)
    torch.testing.assert_close(fine, deconvolve(own, w['1.weight'], w['1.bias']))
    quads = own.reshape(2, 48, 3, 2, 2, 2).permute(0, 1, 2, 4, 3, 5).flatten(4)
    torch.testing.assert_close(coarse, quads.amax(-1))
    x = deconvolve(own, w['0.0.weight'], w['0.0.bias'])
    centered = x - x.mean(1, keepdim=True)
    x = centered / (centered.square().mean(1, keepdim=True) + 1e-6).sqrt()
    x = F.gelu(x * w['0.1.weight'][:, None, None] + w['0.1.bias'][:, None, None])
    torch.testing.assert_close(finest, deconvolve(x, w['0.3.weight'], w['0.3.bias']))


def test_the_rule_of_the_papers_authors():
    """BatchNorm between the deconvolutions, and a learnt convolution for the coarsest map."""
    pyramid = build(norm='BN', coarsest='conv').train()
    images = torch.randn(2, 3, 96, 80)
    w = pyramid.levels.state_dict()
    with torch.no_grad():
        finest, fine, middle, coarse = pyramid(images)
    torch.testing.assert_close(fine, deconvolve(middle, w['1.weight'], w['1.bias']))
    x = deconvolve(middle, w['0.0.weight'], w['0.0.bias'])
    centered = x - x.mean((0, 2, 3), keepdim=True)
    x = F.gelu(centered / (centered.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt())
    expected = deconvolve(x, w['0.3.weight'], w['0.3.bias'])
    torch.testing.assert_close(finest, expected, rtol=1e-4, atol=1e-5)
    assert tuple(coarse.shape[2:]) == (3, 3)  # of 6 x 5
    padded = F.pad(middle, (1, 1, 1, 1))
    patch = padded[:, :, 2:5, 4:7]  # around row 1, column 2 of the coarse map
    cell = torch.einsum('bcij,dcij->bd', patch, w['3.weight']) + w['3.bias']
    torch.testing.assert_close(coarse[:, :, 1, 2], cell, rtol=1e-4, atol=1e-5)


def test_unknown_layers_are_named():
    with pytest.raises(ValueError, match=r"norm='GN', coarsest='pool'; choose 'LN' or 'BN'"):
        build(norm='GN')


def test_maps_of_an_image_do_not_depend_on_its_batch():
    pyramid = build().train()
    images = torch.randn(3, 3, 64, 32)
    with torch.no_grad():
        together, alone = pyramid(images), pyramid(images[1:2])
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[1:2], one)


def test_own_layers_start_with_the_scale_of_the_encoders_map():
    pyramid = build(dict(type='saip.ViTEncoder', arch='deit-tiny'))
    first = pyramid.levels.state_dict()
    with torch.no_grad():
        _, fine, middle, _ = pyramid(torch.randn(2, 3, 256, 128))
    assert fine.std() == pytest.approx(float(middle.std()), rel=0.1)
    for name, value in first.items():
        if value.ndim == 4:
            assert float(value.std()) == pytest.approx(len(value) ** -0.5, rel=0.05), name
        else:
            assert value.unique().tolist() == [1.0 if name == '0.1.weight' else 0.0], name


def test_strides_are_chosen_and_ordered():
    vit = build(strides=(32, 16))
    maps = vit(torch.randn(1, 3, 64, 32))
    assert [tuple(x.shape[1:]) for x in maps] == [(48, 2, 1), (48, 4, 2)]
    resnet = build(dict(RESNET, out_strides=(16,)), strides=(32, 4))
    maps = resnet(torch.randn(1, 3, 64, 32))
    assert [tuple(x.shape[1:]) for x in maps] == [(512, 2, 1), (64, 16, 8)]
    assert all(p.requires_grad for p in resnet.parameters())


def test_twice_the_coarsest_stride_is_pooled():
    pyramid = build(dict(type='saip.PatchResNetEncoder')).eval()
    _, _, coarsest, pooled = pyramid(torch.randn(1, 3, 80, 48))
    assert coarsest.shape == (1, 256, 5, 3)
    torch.testing.assert_close(pooled, F.max_pool2d(coarsest, 2, ceil_mode=True))


def test_stages_that_no_map_needs_are_frozen():
    pyramid = build(RESNET, strides=(4, 8))
    frozen = {
        name.split('.')[2] for name, p in pyramid.named_parameters() if not p.requires_grad
    }
    trainable = {
        name.split('.')[2] for name, p in pyramid.named_parameters() if p.requires_grad
    }
    assert frozen == {'layer3', 'layer4'}
    assert trainable == {'conv1', 'bn1', 'layer1', 'layer2'}


@pytest.mark.parametrize(
    ('encoder', 'strides', 'message'),
    [
        (
            VIT,
            (4, 64),
            'no map of stride 64 .* single map of stride 16; choose among 4, 8, 16, 32',
        ),
        (VIT, (2,), 'no map of stride 2 '),
        (RESNET, (4, 128), 'no feature map at stride 128; it has 2, 4, 8, 16, 32'),
        (VIT, (), 'strides is empty'),
    ],
)
def test_strides_that_cannot_be_made(encoder, strides, message):
    with pytest.raises(ValueError, match=message):
        build(encoder, strides=strides)


def test_weights_belong_to_the_encoder(tmp_path: Path):
    init_cfg = dict(type='Pretrained', checkpoint='a.pth', prefix='backbone.')
    for given in (init_cfg, [init_cfg]):
        with pytest.raises(WeightsError, match=r'belongs one level deeper: .*encoder=dict'):
            build(init_cfg=given)
    encoder = MODELS.build(VIT)
    encoder.init_weights()
    path = tmp_path / 'encoder.pth'
    torch.save({f'backbone.{key}': value for key, value in encoder.state_dict().items()}, path)
    pyramid = build(dict(VIT, init_cfg=dict(init_cfg, checkpoint=str(path))))
    expected = encoder.state_dict()
    found = pyramid.encoder.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
