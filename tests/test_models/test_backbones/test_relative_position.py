"""Relative position bias and the mean of the patches, against mmpretrain's BEiT and ViT."""

from fractions import Fraction

import pytest
import torch
from mmpretrain.models.backbones import BEiTViT, VisionTransformer

from saip.checkpoint import CheckpointError, WeightsError
from saip.engine.converters.mmpretrain import saip_to_mmpretrain
from saip.models.backbones import ViTEncoder, build_encoder
from saip.models.ops.relative_position import read_table, resample_table, table_rows
from saip.structures import EncodeRequest, Outputs
from tests.tiny import ARCH

SIZE = (64, 32)
TABLES = [f'layers.{i}.attn.relative_position_bias_table' for i in range(4)]


def build(size=SIZE, **options):
    torch.manual_seed(0)
    options = {'layer_scale': 0.1, 'feature_level': 1, 'relative_position': True, **options}
    encoder = ViTEncoder(arch=ARCH, img_size=size, **options)
    encoder.init_weights()
    return encoder.double().eval()


def stirred(encoder):
    """Weights of which none is what it began with; keys have no bias in BEiT."""
    for name, parameter in encoder.named_parameters():
        scale = 0.5 if 'table' in name else 0.05
        parameter.data.add_(scale * torch.randn_like(parameter))
        if name.endswith('qkv.bias'):
            parameter.data.chunk(3)[1].zero_()
    return encoder


def beit(encoder, **options):
    """mmpretrain's BEiT with these weights."""
    stock = BEiTViT(
        arch=ARCH,
        img_size=SIZE,
        final_norm=True,
        use_abs_pos_emb=True,
        out_type='raw',
        **options,
    )
    stock.double().eval()
    weights = {}
    for name, value in encoder.state_dict().items():
        if name.endswith('qkv.bias'):
            query, _, value = value.chunk(3)
            weights[name.replace('qkv.bias', 'q_bias')] = query
            name = name.replace('qkv.bias', 'v_bias')
        name = name.replace('attn.gamma1.weight', 'gamma_1')
        weights[name.replace('ffn.gamma2.weight', 'gamma_2')] = value
    missing, unexpected = stock.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all(name.endswith('relative_position_index') for name in missing)
    return stock


def images(*size, number=2):
    return torch.randn(number, 3, *size, dtype=torch.float64)


def test_tokens_and_gradients_are_those_of_beit():
    encoder = stirred(build())
    stock, x = beit(encoder), images(*SIZE)
    (expected,) = stock(x)
    found = encoder.encode(x)
    torch.testing.assert_close(found.image_token, expected[:, 0], atol=1e-10, rtol=0)
    torch.testing.assert_close(found.patch_tokens, expected[:, 1:], atol=1e-10, rtol=0)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    tokens = torch.cat([found.image_token[:, None], found.patch_tokens], 1)
    (tokens * weight).sum().backward()
    own, theirs = dict(encoder.named_parameters()), dict(stock.named_parameters())
    for name in TABLES:
        torch.testing.assert_close(own[name].grad, theirs[name].grad, atol=1e-10, rtol=0)


def test_maps_after_blocks_and_the_forward_of_other_libraries_are_those_of_beit():
    encoder = stirred(build(out_indices=[1, 3], out_type='raw'))
    x = images(*SIZE)
    with torch.no_grad():
        found, expected = encoder(x), beit(encoder, out_indices=[1, 3])(x)
        maps = encoder.block_maps(x, [Fraction(1, 2), Fraction(1)])
    for one, other, map_ in zip(found, expected, maps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
        torch.testing.assert_close(map_.flatten(2).mT, other[:, 1:], atol=1e-10, rtol=0)


def test_packed_requests_on_several_grids_are_those_of_single_ones():
    encoder = stirred(build())
    all_of_it = Outputs(image_token=True, patch_tokens=True, dense=True, relations=True)
    keep = torch.tensor([[5, 0, 3], [7, 2, 1]])
    requests = [
        EncodeRequest(images(*SIZE), all_of_it),
        EncodeRequest(images(96, 48), Outputs(dense=True)),
        EncodeRequest(images(32, 64), Outputs(image_token=True)),
        EncodeRequest(images(*SIZE), all_of_it, keep),
    ]
    with torch.no_grad():
        together = encoder.encode_requests(requests)
        for request, found in zip(requests, together, strict=True):
            (alone,) = encoder.encode_requests([request])
            for part in ('final', 'dense'):
                if (one := getattr(found, part)) is not None:
                    other = getattr(alone, part)
                    torch.testing.assert_close(one.image_token, other.image_token)
            if request.outputs.relations:
                torch.testing.assert_close(found.relations.query_key, alone.relations.query_key)


def test_the_order_of_kept_patches_does_not_matter():
    encoder, x = stirred(build()), images(*SIZE)
    keep = torch.stack([torch.randperm(8), torch.randperm(8)])
    with torch.no_grad():
        found, expected = encoder.encode(x, keep), encoder.encode(x)
    torch.testing.assert_close(found.image_token, expected.image_token)
    order = keep[..., None].expand(-1, -1, 48)
    torch.testing.assert_close(found.patch_tokens, expected.patch_tokens.gather(1, order))


def test_rows_of_pairs_by_hand():
    height, width = 3, 2
    table = torch.arange(5 * 3 + 3.0)[:, None]  # distances -2..2 by -1..1, then the token's
    kept = [4, 0, 5]
    biases = read_table(table, table_rows((height, width), torch.tensor([kept]), table.device))
    assert biases.shape == (1, 1, 4, 4)
    for i, query in enumerate(kept):
        for j, key in enumerate(kept):
            down = query // width - key // width
            right = query % width - key % width
            assert biases[0, 0, i + 1, j + 1] == 3 * (down + 2) + right + 1
    assert biases[0, 0, 0].tolist() == [17, 15, 15, 15]
    assert biases[0, 0, :, 0].tolist() == [17, 16, 16, 16]


def test_relations_hold_the_bias():
    encoder = build(layer_scale=0.0)
    last = encoder.layers[-1].attn
    last.qkv.weight.data[:96] = 0  # queries and keys, so that scores are the bias alone
    last.relative_position_bias_table.data.normal_()
    rows = table_rows((4, 2), None, torch.device('cpu'))
    expected = read_table(last.relative_position_bias_table, rows).softmax(-1)
    with torch.no_grad():
        found = encoder.attention_map(images(*SIZE, number=1))
    torch.testing.assert_close(found.flatten(2), expected[:, :, 0, 1:])


def test_on_another_grid_distances_are_resampled():
    table = torch.randn(7 * 3 + 3, 2)
    moved = resample_table(table, (4, 2), (6, 3))
    assert moved.shape == (11 * 5 + 3, 2)
    assert torch.equal(moved[-3:], table[-3:])
    same = torch.full((24, 2), 0.7)
    torch.testing.assert_close(resample_table(same, (4, 2), (6, 3)), torch.full((58, 2), 0.7))
    # What is symmetric stays so: a distance and its opposite have one bias.
    even = table[:-3] + table[:-3].flip(0)
    moved = resample_table(torch.cat([even, table[-3:]]), (4, 2), (6, 3))[:-3]
    torch.testing.assert_close(moved, moved.flip(0))


def saved(encoder, path, **changes):
    weights = {f'backbone.{k}': v for k, v in encoder.float().state_dict().items()}
    meta = {'architecture': encoder.architecture()} | changes
    torch.save({'state_dict': weights, 'meta': meta}, path)
    return dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')


def test_weights_without_tables_load_and_compute_the_same(tmp_path):
    before = stirred(build(relative_position=False))
    init_cfg = saved(before, tmp_path / 'weights.pth')
    after = ViTEncoder(
        arch=ARCH, img_size=SIZE, layer_scale=0.1, relative_position=True, init_cfg=init_cfg,
        feature_level=1,
    )  # fmt: skip
    after.init_weights()
    assert all(not after.state_dict()[name].any() for name in TABLES)
    x = images(*SIZE).float()
    with torch.no_grad():
        found, expected = after.eval().encode(x), before.eval().encode(x)
    torch.testing.assert_close(found.patch_tokens, expected.patch_tokens)


def test_tables_load_at_another_size_as_the_encoder_resamples_them(tmp_path):
    encoder = stirred(build(pos_init='sincos'))
    init_cfg = saved(encoder, tmp_path / 'weights.pth')
    larger = build_encoder(
        {**encoder.architecture(), 'img_size': (96, 48), 'init_cfg': init_cfg}
    )
    larger.init_weights()
    x = images(96, 48).float()
    with torch.no_grad():
        found, expected = larger.eval().encode(x), encoder.float().encode(x)
    torch.testing.assert_close(found.patch_tokens, expected.patch_tokens, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ('stored', 'built', 'message'),
    [
        ({}, {'relative_position': False}, r'relative position bias .*relative_position=True'),
        (
            {'layer_scale': 0.0},
            {},
            r'no LayerScale, .*layer_scale=0 \(unset SAIP_LAYER_SCALE\)',
        ),
        ({}, {'layer_scale': 1e-5}, 'layer_scale is 0.1 in the file and 1e-05 in the model'),
    ],
)
def test_what_does_not_agree_with_the_weights_is_named(stored, built, message, tmp_path):
    init_cfg = saved(build(**stored), tmp_path / 'weights.pth')
    options = {'layer_scale': 0.1, 'relative_position': True, **built}
    encoder = ViTEncoder(
        arch=ARCH, img_size=SIZE, feature_level=1, init_cfg=init_cfg, **options
    )
    with pytest.raises(WeightsError, match=rf'weights\.pth: .*{message}'):
        encoder.init_weights()


def test_mmpretrains_vit_has_no_such_bias(tmp_path):
    saved(build(), tmp_path / 'weights.pth', which='student')
    with pytest.raises(CheckpointError, match='relative position bias'):
        saip_to_mmpretrain(tmp_path / 'weights.pth', tmp_path / 'out.pth')


def test_the_mean_is_normed_after_it():
    encoder = stirred(build(relative_position=False, layer_scale=0.0, out_type='avg_featmap'))
    stock = VisionTransformer(
        arch=ARCH, img_size=SIZE, patch_size=16, out_type='avg_featmap', final_norm=False
    )
    names = {k.replace('ln1', 'ln2') if k.startswith('ln1') else k: v
             for k, v in encoder.state_dict().items()}  # fmt: skip
    stock.double().eval()
    stock.load_state_dict(names, strict=True)
    x = images(*SIZE)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), stock(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize('out_type', ['featmap', 'avg_featmap', 'image_token'])
def test_an_exported_encoder_computes_the_same(out_type):
    encoder = stirred(build(out_type=out_type)).float()
    x = images(96, 64).float()
    program = torch.export.export(encoder, (x,))
    torch.testing.assert_close(program.module()(x), encoder(x))
