"""Networks whose last stage keeps stride 16."""

import pytest
import torch

from saip.errors import InputError
from saip.experiments.backbone_configs import find_backbone_config
from saip.registry import MODELS
from saip.structures import EncodeRequest, Outputs
from tests.tiny import ROOT

NETWORKS = ('starnet_s3', 'tiny_vit_5m_224', 'resnet18')
FRAGMENTS = ROOT / 'configs/_base_/backbones'


def build(model: str, **options):
    encoder = MODELS.build(dict(type='saip.TimmEncoder', model=model, **options))
    return encoder.eval()


@pytest.fixture(scope='module', params=NETWORKS)
def pair(request):
    torch.manual_seed(0)
    coarse, fine = build(request.param), build(request.param, output_stride=16)
    fine.load_state_dict(coarse.state_dict(), strict=True)
    return coarse, fine


@torch.no_grad()
def test_the_last_map_is_twice_as_fine_and_the_others_are_the_same(pair):
    coarse, fine = pair
    images = torch.randn(2, 3, 128, 64)
    assert (coarse.encode(images).grid, fine.encode(images).grid) == ((4, 2), (8, 4))
    maps = [each.feature_maps(images, (4, 8, 16, 32)) for each in pair]
    for one, other in zip(*(m[:3] for m in maps), strict=True):
        assert torch.equal(one, other)
    assert maps[1][3].shape[2:] == (8, 4)
    assert fine.map_strides == {**coarse.map_strides, 32: 16}


@torch.no_grad()
def test_of_a_convolution_every_second_cell_is_that_of_the_stride():
    """ResNet's first block of the last stage, before the layers that look around."""
    coarse, fine = build('resnet18'), build('resnet18', output_stride=16)
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 256, 8, 4)
    one, other = (each.timm_model.layer4[0].conv1(x) for each in (coarse, fine))
    torch.testing.assert_close(one, other[:, :, ::2, ::2])


@torch.no_grad()
def test_masks_and_dense_features_have_the_grid_of_a_vit(pair):
    _, fine = pair
    keep = torch.tensor([[0, 3, 9, 30], [1, 2, 12, 31]])
    request = EncodeRequest(
        torch.randn(2, 3, 128, 64), Outputs(patch_tokens=True, dense=True), keep
    )
    features = fine.encode_requests([request])[0]
    assert features.require_final().grid == features.require_dense().grid == (8, 4)
    assert features.require_final().require_patch_tokens().shape == (2, 4, fine.patch_dims)


def test_a_file_of_the_stock_network_loads_and_says_what_it_is(tmp_path):
    stock = build('starnet_s3')
    state = {f'backbone.{key}': value for key, value in stock.state_dict().items()}
    torch.save(
        {'state_dict': state, 'meta': {'architecture': stock.architecture()}},
        tmp_path / 'a.pth',
    )
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='backbone.')
    fine = build('starnet_s3', output_stride=16, init_cfg=init_cfg)
    fine.init_weights()
    assert torch.equal(fine.timm_model.norm.weight, stock.timm_model.norm.weight)
    again = MODELS.build({k: v for k, v in fine.architecture().items() if k != 'grid'})
    assert again.output_stride == 16
    assert 'output_stride' not in stock.architecture()
    for encoder, name in ((stock, 'starnet-s3'), (fine, 'starnet-s3-os16')):
        assert find_backbone_config(encoder.architecture(), FRAGMENTS) == name


def test_a_network_without_memory_is_changed_alike():
    with torch.device('meta'):
        encoder = build('starnet_s3', output_stride=16)
    assert encoder.map_strides[32] == 16
    assert encoder.timm_model.stages[3][0].conv.stride == (1, 1)


def test_what_cannot_keep_its_stride_is_refused():
    with pytest.raises(InputError, match='its last stage is not the one after stride 16'):
        build('efficientvit_m0', output_stride=16)
    with pytest.raises(InputError, match='does not lie between its last two stages'):
        build('mobilenetv4_hybrid_medium', output_stride=16)
    with pytest.raises(InputError, match=r"'edgenext_small'.* kernel_size=\(2, 2\), stride"):
        build('edgenext_small', output_stride=16)
    with pytest.raises(InputError, match=r'output_stride=8: 16, or None'):
        build('resnet18', output_stride=8)


@pytest.mark.parametrize(
    ('strides', 'sizes'),
    [
        ((4, 8, 16, 16), [(32, 64), (16, 128), (8, 256), (8, 512)]),
        ((4, 8, 16, 32), [(32, 64), (16, 128), (8, 256), (4, 512)]),
        ((16,), [(8, 512)]),
    ],
)
def test_pyramids_take_the_maps_that_there_are(strides, sizes):
    encoder = dict(type='saip.TimmEncoder', model='resnet18', output_stride=16)
    pyramid = MODELS.build(dict(type='saip.FeaturePyramid', encoder=encoder, strides=strides))
    maps = pyramid(torch.randn(1, 3, 128, 64))
    assert [(x.shape[2], x.shape[1]) for x in maps] == sizes
    assert pyramid.pyramid_channels == [channels for _, channels in sizes]
