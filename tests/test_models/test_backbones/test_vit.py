"""The encoder contract of the vision transformer, against mmpretrain's own class."""

import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer

from saip.models.backbones import ViTEncoder, build_encoder
from saip.structures import EncodeRequest, Outputs

ARCH = dict(embed_dims=48, num_layers=5, num_heads=3, feedforward_channels=96)


@pytest.fixture(scope='module')
def encoder():
    torch.manual_seed(0)
    model = ViTEncoder(arch=ARCH, feature_level=2)
    model.init_weights()
    return model.eval()


def stock(encoder, **kwargs):
    model = VisionTransformer(
        arch=ARCH, img_size=(256, 128), patch_size=16, out_type='raw', **kwargs
    )
    model.load_state_dict(encoder.state_dict(), strict=True)
    model.eval()  # returns None
    return model


@pytest.mark.parametrize('size', [(256, 128), (128, 64), (384, 192), (224, 224), (112, 48)])
def test_encode_equals_the_stock_forward(encoder, size):
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        output = encoder.encode(images)
        expected = stock(encoder)(images)[0]
    assert output.grid == (size[0] // 16, size[1] // 16)
    torch.testing.assert_close(output.image_token, expected[:, 0])
    torch.testing.assert_close(output.patch_tokens, expected[:, 1:])


def test_packed_requests_equal_single_ones(encoder):
    requests = [
        EncodeRequest(torch.randn(2, 3, 256, 128), Outputs(image_token=True, relations=True)),
        EncodeRequest(torch.randn(6, 3, 128, 64), Outputs(image_token=True)),
        EncodeRequest(torch.randn(2, 3, 192, 96), Outputs(image_token=True, dense=True)),
        EncodeRequest(torch.randn(2, 3, 224, 224), Outputs(dense=True)),
    ]
    with torch.no_grad():
        together = encoder.encode_requests(requests)
        alone = [encoder.encode_requests([r])[0] for r in requests]
        levels = [stock(encoder, out_indices=[2])(r.images)[0] for r in requests]
    for both, one, level, request in zip(together, alone, levels, requests, strict=True):
        if request.outputs.image_token:
            torch.testing.assert_close(both.final.image_token, one.final.image_token)
            torch.testing.assert_close(
                both.final.image_token, encoder.encode(request.images).image_token
            )
        else:
            assert both.final is None
        if request.outputs.dense:
            torch.testing.assert_close(both.dense.image_token, level[:, 0])
            torch.testing.assert_close(both.dense.patch_tokens, level[:, 1:])
        assert (both.relations is None) is not request.outputs.relations


def test_relations_are_those_of_the_last_block(encoder):
    images = torch.randn(2, 3, 128, 64)
    captured = {}
    attention = encoder.layers[-1].attn
    model = stock(encoder)
    model.layers[-1].attn.register_forward_hook(
        lambda module, args, out: captured.update(x=args[0])
    )
    with torch.no_grad():
        model(images)
        relations = encoder.encode_requests([EncodeRequest(images, Outputs(relations=True))])[0]
        q, k, v = attention.qkv(captured['x']).reshape(2, 33, 3, 3, 16).permute(2, 0, 3, 1, 4)
    expected = torch.einsum('bhtd,bhsd->bhts', q, k).div(4).softmax(-1)
    torch.testing.assert_close(relations.relations.query_key, expected)
    expected = torch.einsum('bhtd,bhsd->bhts', v, v).div(4).softmax(-1)
    torch.testing.assert_close(relations.relations.value_value, expected)
    torch.testing.assert_close(
        encoder.attention_map(images),
        relations.relations.query_key[:, :, 0, 1:].reshape(2, 3, 8, 4),
    )


def test_kept_patches_carry_their_own_positions(encoder):
    images = torch.randn(2, 3, 128, 64)
    keep = torch.stack([torch.randperm(32)[:8] for _ in range(2)])
    order = torch.stack([torch.arange(32)] * 2)
    with torch.no_grad():
        # Keeping everything in another order is a permutation of the plain answer.
        shuffled = torch.stack([torch.randperm(32) for _ in range(2)])
        plain, moved = encoder.encode(images, order), encoder.encode(images, shuffled)
        some = encoder.encode(images, keep)
    expected = plain.patch_tokens.gather(1, shuffled[..., None].expand(-1, -1, 48))
    torch.testing.assert_close(moved.patch_tokens, expected)
    torch.testing.assert_close(encoder.encode(images).patch_tokens, plain.patch_tokens)
    assert some.patch_tokens.shape == (2, 8, 48)
    assert some.grid == (8, 4)


class Adapted(torch.nn.Linear):
    """A layer to which an adapter was added."""

    def forward(self, x):
        return super().forward(x) + 1


def test_adapters_and_hooks_act_in_training_as_in_evaluation():
    model = ViTEncoder(arch=ARCH, feature_level=2)
    model.init_weights()
    images, layer = torch.randn(2, 3, 64, 32), model.layers[1]
    plain = model.train().encode(images).patch_tokens
    torch.testing.assert_close(plain, model.eval().encode(images).patch_tokens)
    adapted = Adapted(*layer.ffn.layers[1].weight.shape[::-1])
    adapted.load_state_dict(layer.ffn.layers[1].state_dict())
    layer.ffn.layers[1] = adapted
    calls = []
    layer.attn.proj.register_forward_hook(lambda *_: calls.append(1))
    trained = model.train().encode(images).patch_tokens
    assert calls
    torch.testing.assert_close(trained, model.eval().encode(images).patch_tokens)
    assert not torch.allclose(trained, plain)


def test_final_feature_level_gives_normed_tokens():
    model = ViTEncoder(arch=ARCH, feature_level=None).eval()
    images = torch.randn(2, 3, 128, 64)
    with torch.no_grad():
        features = model.encode_requests([EncodeRequest(images, Outputs(dense=True))])[0]
        expected = model.encode(images)
    torch.testing.assert_close(features.dense.patch_tokens, expected.patch_tokens)
    torch.testing.assert_close(features.dense.image_token, expected.image_token)


def test_the_last_block_can_be_the_feature_level_before_its_norm():
    model = ViTEncoder(arch=ARCH, feature_level=4).eval()
    images = torch.randn(2, 3, 128, 64)
    with torch.no_grad():
        request = EncodeRequest(images, Outputs(image_token=True, dense=True))
        features = model.encode_requests([request])[0]
        final = model.encode(images)
    torch.testing.assert_close(model.ln1(features.dense.patch_tokens), final.patch_tokens)
    torch.testing.assert_close(features.final.image_token, final.image_token)


def test_xavier_treats_the_fused_qkv_as_one_matrix():
    torch.manual_seed(0)
    model = ViTEncoder()
    model.init_weights()
    for layer in model.layers:
        bound = (6 / (192 + 3 * 192)) ** 0.5
        assert layer.attn.qkv.weight.abs().max() <= bound
        assert layer.attn.qkv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert not layer.attn.qkv.bias.any()
        assert not layer.ffn.layers[1].bias.any()
    bound = (6 / (192 + 768)) ** 0.5
    weight = model.patch_embed.projection.weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)


def test_uniform_positions():
    model = ViTEncoder(arch=ARCH, feature_level=2, pos_init='uniform')
    model.init_weights()
    assert 0 <= model.pos_embed.min() < 0.01
    assert 0.99 < model.pos_embed.max() < 1


def test_stochastic_depth_drops_whole_images():
    torch.manual_seed(0)
    model = ViTEncoder(arch=ARCH, feature_level=2, drop_path_rate=0.9).train()
    images = torch.randn(1, 3, 128, 64).expand(64, -1, -1, -1)
    tokens = model.encode(images).image_token
    # Equal images fall into groups by which blocks they skipped.
    assert 2 < len(torch.unique(tokens.round(decimals=3), dim=0)) < 64
    model.eval()
    assert len(torch.unique(model.encode(images).image_token.round(decimals=3), dim=0)) == 1


def test_architecture_builds_the_same_encoder(encoder):
    again = build_encoder(encoder.architecture())
    assert again.architecture() == encoder.architecture()
    again.load_state_dict(encoder.state_dict(), strict=True)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(img_size=(250, 128)), 'img_size=.250, 128. is not a whole number'),
        (dict(feature_level=12), 'choose a block from 0 to 11'),
        (dict(pos_interp='bilinear'), "choose 'grid2d' or 'flat1d'"),
        (dict(pos_init='zeros'), 'choose one of trunc_normal, uniform, sincos'),
    ],
)
def test_wrong_options_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ViTEncoder(**kwargs)
