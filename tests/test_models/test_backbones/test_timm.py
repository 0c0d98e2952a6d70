"""TimmEncoder against timm itself, and what it refuses."""

import pytest
import timm
import torch
from torch import nn

from saip.models.backbones import TimmEncoder
from saip.structures import EncodeRequest, Outputs

MODELS_OF_TIMM = ['starnet_s1', 'tiny_vit_5m_224', 'edgenext_x_small', 'resnet18']


def pair(name, **options):
    """An encoder and the plain timm model with the same weights, both in eval mode."""
    torch.manual_seed(0)
    encoder = TimmEncoder(name, out_type='image_token', **options).eval()
    plain = timm.create_model(name, num_classes=0)
    below = {k.removeprefix('timm_model.'): v for k, v in encoder.state_dict().items()}
    plain.load_state_dict(below, strict=True)
    return encoder, plain.eval()


@pytest.mark.parametrize('name', [*MODELS_OF_TIMM, 'mobilenetv4_conv_small'])
def test_features_are_those_of_the_plain_model(name):
    encoder, plain = pair(name)
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        output = encoder.encode(images)
        expected = plain.forward_features(images)
        # timm's own forward pools, and with no classifier that is the image token.
        torch.testing.assert_close(output.image_token, plain(images), rtol=1e-5, atol=1e-4)
    expected = expected.flatten(2).transpose(1, 2)
    torch.testing.assert_close(output.patch_tokens, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('name', MODELS_OF_TIMM)
def test_maps_are_those_of_the_feature_network(name):
    """timm's ``features_only`` networks have other keys but, copied over, the same maps."""
    encoder, plain = pair(name)
    network = timm.create_model(name, features_only=True)
    renamed = {}
    for key in network.state_dict():
        stock = key.replace('stages_', 'stages.').replace('stem_', 'stem.')
        renamed[key] = plain.state_dict()[stock]
    network.load_state_dict(renamed, strict=True)
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        expected = dict(
            zip(network.feature_info.reduction(), network.eval()(images), strict=True)
        )
        strides = [stride for stride in encoder.map_channels if stride < 32]
        maps = encoder.feature_maps(images, strides)
        request = EncodeRequest(images, Outputs(dense=True))
        pixel = encoder.encode_requests([request])[0].dense
    for stride, found in zip(strides, maps, strict=True):
        torch.testing.assert_close(found, expected[stride])
    torch.testing.assert_close(pixel.patch_tokens, expected[16].flatten(2).transpose(1, 2))
    torch.testing.assert_close(pixel.image_token, expected[16].mean((2, 3)))


def test_odd_sizes_are_padded_with_the_mean_color():
    encoder, plain = pair('resnet18')
    images = torch.randn(1, 3, 83, 50)
    framed = torch.zeros(1, 3, 96, 64)
    framed[..., :83, :50] = images
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(images).image_token, plain(framed))


def test_pixel_requests_stop_early():
    encoder, _ = pair('starnet_s1')
    called = []
    for i, stage in enumerate(encoder.timm_model.stages):
        stage.register_forward_hook(lambda *_, i=i: called.append(i))
    encoder.encode_requests([EncodeRequest(torch.randn(2, 3, 64, 64), Outputs(dense=True))])
    assert called == [0, 1, 2]


def test_last_map_as_pixel_features_on_the_grid_of_patches():
    encoder, _ = pair('starnet_s1', feature_level=None)
    assert (encoder.dense_is_final, encoder.dense_dims) == (True, encoder.patch_dims)
    images = torch.randn(1, 3, 128, 64)
    need = Outputs(patch_tokens=True, dense=True)
    with torch.no_grad():
        features = encoder.encode_requests([EncodeRequest(images, need)])[0]
    coarse = features.final.patch_tokens.transpose(1, 2).unflatten(-1, (4, 2))
    fine = features.dense.patch_tokens.transpose(1, 2).unflatten(-1, (8, 4))
    # Corners of a bilinear map equal the cells they lie in, and four cells around a coarse
    # corner have the mean of the four coarse cells.
    torch.testing.assert_close(fine[..., 0, 0], coarse[..., 0, 0])
    torch.testing.assert_close(fine[..., -1, -1], coarse[..., -1, -1])
    torch.testing.assert_close(
        fine[..., 1:3, 1:3].mean((2, 3)), coarse[..., :2, :2].mean((2, 3))
    )


def test_stochastic_depth_is_that_of_the_network():
    rates = {
        name: [m.drop_prob for m in encoder.modules() if isinstance(m, timm.layers.DropPath)]
        for name, encoder in (
            ('with', TimmEncoder('starnet_s1', drop_path_rate=0.2)),
            ('without', TimmEncoder('starnet_s1')),
        )
    }
    assert max(rates['with']) == pytest.approx(0.2)
    assert rates['without'] == []


def test_depth_grows_block_by_block():
    encoder, _ = pair('resnet18')
    depth = {
        name: encoder.get_layer_depth(f'timm_model.{name}')
        for name in (
            'conv1.weight',
            'layer1.0.conv1.weight',
            'layer1.1.bn2.bias',
            'layer4.1.conv2.weight',
        )
    }
    assert list(depth.values()) == [(0, 10), (1, 10), (2, 10), (8, 10)]


def test_reset_gives_a_new_network_of_timm():
    encoder, _ = pair('resnet18')
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            tensor.fill_(3)
    torch.manual_seed(5)
    encoder.reset_parameters()
    torch.manual_seed(5)
    expected = timm.create_model('resnet18', num_classes=0).state_dict()
    assert all(torch.equal(encoder.timm_model.state_dict()[k], v) for k, v in expected.items())


def test_attention_is_similarity_to_the_image_token():
    encoder, _ = pair('mobilenetv4_conv_small')  # token 1280 wide, patches 960
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found = encoder.attention_map(images)[0, 0]
        tokens = encoder.encode(images).patch_tokens[0]
    mean = tokens.mean(0)
    alike = [max(float(t @ mean / t.norm() / mean.norm()), 0) for t in tokens]
    expected = torch.tensor(alike).view(2, 2) / sum(alike)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(model='starnet_s33'), 'no model .starnet_s33.; near names: starnet_s'),
        (dict(model='vit_tiny_patch16_224'), r'strides 16, 16, .* take saip\.ViTEncoder'),
        (
            dict(model='vgg11', drop_path_rate=0.1),
            'vgg11. has no stochastic depth: set drop_path',
        ),
        (dict(model='resnet18', feature_level=6), 'feature_level=6: choose 16'),
        (dict(model='resnet18', out_type='raw'), "choose 'featmap' or 'image_token'"),
        (dict(model='resnet18', masking='drop'), "choose 'visible_cells' or 'fill'"),
        (dict(model='swin_tiny_patch4_window7_224'), '96x64 pixels .* one input size'),
        (dict(model='twins_svt_small'), r'maps are not \(B, C, h, w\)'),
        (dict(model='levit_128'), '96x64 pixels .* one input size'),
        (dict(model='resnet18', out_strides=(64,)), 'no feature map at stride 64'),
        (dict(model='resnet18', pos_interp='flat1d'), 'no option pos_interp.*saip-official'),
    ],
)
def test_what_it_cannot_do_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TimmEncoder(**options)


def test_relations_are_refused():
    encoder, _ = pair('resnet18')
    with pytest.raises(ValueError, match='no attention over all tokens'):
        encoder.encode_requests(
            [EncodeRequest(torch.zeros(1, 3, 32, 32), Outputs(relations=True))]
        )


def test_a_network_without_the_stride_of_patches_is_refused(monkeypatch):
    class Coarse(nn.Module):
        feature_info = [dict(num_chs=4, reduction=8), dict(num_chs=4, reduction=32)]
        num_features = head_hidden_size = 4

        def forward_intermediates(self, x):
            maps = [x.new_zeros(1, 4, x.shape[-2] // r, x.shape[-1] // r) for r in (8, 32)]
            return maps[-1], maps

    monkeypatch.setattr(timm, 'create_model', lambda *args, **kwargs: Coarse())
    with pytest.raises(ValueError, match=r"stage of stride 16; .* 'resnet18' are 8, 32"):
        TimmEncoder('resnet18')


@pytest.mark.parametrize(
    ('name', 'channels_last'),
    [('starnet_s1', True), ('resnet18', True), ('fastvit_t8', False), ('mobileone_s0', False)],
)
def test_memory_layout_of_the_image(name, channels_last):
    """With a 1x1 convolution on it oneDNN's gradient breaks channels that come last."""
    encoder = TimmEncoder(name, out_type='image_token')
    layouts = []
    first = next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, args: layouts.append(args[0].is_contiguous()))
    with torch.no_grad():
        encoder.encode(torch.randn(2, 3, 64, 32))
    assert layouts == [not channels_last]
