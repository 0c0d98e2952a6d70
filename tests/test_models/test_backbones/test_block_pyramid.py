"""Maps after several blocks of a plain ViT, against mmpretrain's own network."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import VisionTransformer

from saip.errors import InputError
from saip.registry import MODELS

ARCH = dict(embed_dims=48, num_layers=6, num_heads=3, feedforward_channels=96)
VIT = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=0, img_size=(96, 64))


def build(encoder=VIT):
    pyramid = MODELS.build(dict(type='saip.BlockPyramid', encoder=encoder))
    pyramid.init_weights()
    return pyramid


@torch.no_grad()
def test_the_maps_are_those_after_a_third_two_thirds_and_all_blocks():
    pyramid = build().eval()
    stock = VisionTransformer(
        dict(ARCH), img_size=(96, 64), patch_size=16, out_indices=[1, 3, 5], out_type='featmap'
    )
    stock.eval()  # which returns None
    stock.load_state_dict(pyramid.encoder.state_dict())
    images = torch.randn(2, 3, 96, 64)
    first, second, last = stock(images)
    found = pyramid(images)

    def normed(x):
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2], eps=1e-6).movedim(-1, 1)

    large = F.interpolate(normed(first), scale_factor=4, mode='bilinear')
    expected = (large, normed(second), last, last)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert [x.shape[1] for x in found] == pyramid.pyramid_channels


def test_every_trainable_parameter_gets_a_gradient():
    pyramid = build()
    sum(x.square().mean() for x in pyramid(torch.randn(1, 3, 64, 64))).backward()
    trained = {name for name, p in pyramid.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in pyramid.named_parameters() if p.grad is not None}
    assert 'norms.0.weight' in trained


def test_encoders_with_stages_and_too_few_blocks_are_refused():
    with pytest.raises(InputError, match=r'has stages .* saip\.FeaturePyramid instead of'):
        build(dict(type='saip.TimmEncoder', model='resnet18'))
    two = dict(VIT, arch=dict(ARCH, num_layers=2))
    with pytest.raises(InputError, match='3 maps of an encoder with 2 blocks'):
        build(two)
    with pytest.raises(InputError, match='belongs one level deeper'):
        MODELS.build(
            dict(
                type='saip.BlockPyramid',
                encoder=VIT,
                init_cfg=dict(type='Pretrained', checkpoint='a.pth'),
            )
        )
