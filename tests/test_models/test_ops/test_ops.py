from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed

from saip.models.backbones.token_pack import TokenPack
from saip.models.ops import activated_linear, joined_attention
from saip.models.ops.attention import _is_short, attend, attend_within
from saip.models.ops.blocks import CrossBlock, SelfBlock
from saip.models.ops.patchify import embed_patches, patchify
from saip.models.ops.pos_embed import resample, resample_sequence


def test_patchify_orders_values_by_row_column_channel():
    image = torch.arange(2 * 3 * 32 * 16, dtype=torch.float32).reshape(2, 3, 32, 16)
    patches = patchify(image, 16)
    assert patches.shape == (2, 2, 768)
    expected = torch.stack([image[1, :, 16 + r, c] for r in range(16) for c in range(16)])
    assert torch.equal(patches[1, 1], expected.flatten())


def test_one_product_embeds_as_a_convolution_does():
    conv = torch.nn.Conv2d(3, 5, 4, stride=4, dtype=torch.float64)
    batches = [torch.randn(2, 3, 8, 12).double(), torch.randn(3, 3, 16, 4).double()]
    found = embed_patches(batches, conv.weight, conv.bias)
    for images, (tokens, grid) in zip(batches, found, strict=True):
        maps = conv(images)
        assert grid == maps.shape[2:]
        expected = maps.flatten(2).transpose(1, 2)
        torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-12)


def test_grid_resampling_equals_mmpretrains():
    rows = torch.randn(16 * 8, 6)
    ours = resample(rows, (16, 8), (9, 12), 'grid2d')
    theirs = resize_pos_embed(rows[None], (16, 8), (9, 12), 'bicubic', 0)[0]
    torch.testing.assert_close(ours, theirs)


def test_sequence_resampling_ignores_the_grid():
    rows = torch.randn(128, 6, dtype=torch.float64)
    scale = 33 / 128
    expected = F.interpolate(
        rows.T.reshape(1, 6, 128, 1), scale_factor=(scale, 1), mode='bicubic'
    )[0, :, :, 0].T
    torch.testing.assert_close(resample_sequence(rows, 33), expected)
    assert resample(rows, (16, 8), (8, 16), 'flat1d') is rows


def test_a_block_for_some_queries_equals_the_whole_block_there():
    block = SelfBlock(32, 4).double()
    x = torch.randn(3, 9, 32, dtype=torch.float64)
    torch.testing.assert_close(block(x, queries=2), block(x)[:, :2])


def test_a_cross_block_equals_torchs_own_attention():
    block = CrossBlock(32, 4).double()
    x, memory = torch.randn(3, 5, 32).double(), torch.randn(3, 9, 32).double()
    read = block.attn(block.norm1(x), memory, memory, need_weights=False)[0]
    expected = x + read
    expected = expected + block.mlp(block.norm2(expected))
    torch.testing.assert_close(block(x, memory), expected)


def test_a_gelu_is_computed_again_and_not_kept(monkeypatch):
    monkeypatch.setattr(activated_linear, 'KEEPING', ())
    x = torch.randn(2, 3, 8, dtype=torch.float64).requires_grad_()
    layer = torch.nn.Linear(8, 5, dtype=torch.float64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(tuple(saved.shape)) or saved, lambda saved: saved
    ):
        out = activated_linear.activated_linear(x, layer.weight, layer.bias)
    assert kept == [(2, 3, 8), (5, 8)]  # the input and the weight
    expected, grad = layer(F.gelu(x)), torch.randn_like(out)
    torch.testing.assert_close(out, expected)
    wanted = [x, layer.weight, layer.bias]
    for ours, theirs in zip(
        *(torch.autograd.grad(y, wanted, grad) for y in (out, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    layer.requires_grad_(False)
    activated_linear.activated_linear(x, layer.weight, layer.bias).sum().backward()
    assert layer.weight.grad is None


SHAPES = [(3, 5), (2, 9), (1, 1)]


def exact(packed: torch.Tensor, heads: int) -> torch.Tensor:
    """Self-attention within each image of SHAPES, head by head in float64."""
    rows = []
    for part, (b, t) in zip(packed.split([b * t for b, t in SHAPES]), SHAPES, strict=True):
        for image in part.view(b, t, -1):
            triples = zip(*(x.chunk(heads, -1) for x in image.chunk(3, -1)), strict=True)
            read = [(q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in triples]
            rows.append(torch.cat(read, -1))
    return torch.cat(rows)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)],
)
def test_packed_attention_stays_within_each_image(dtype, tolerance):
    packed = torch.randn(sum(b * t for b, t in SHAPES), 3 * 16).to(dtype)
    grad = torch.randn(len(packed), 16).to(dtype)
    ours, theirs = packed.clone().requires_grad_(), packed.double().requires_grad_()
    out = attend_within(ours, SHAPES, 2, [None] * len(SHAPES))
    expected = exact(theirs, 2)
    out.backward(grad)
    expected.backward(grad.double())
    assert out.dtype == dtype
    for found, wanted in ((out, expected), (ours.grad, theirs.grad)):
        allowed = tolerance * float(wanted.detach().std())
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    ('dtype', 'tokens', 'gradient', 'plain'),
    [
        (torch.float32, 160, True, True),
        (torch.float32, 161, True, False),
        (torch.float32, 160, False, False),
        (torch.bfloat16, 320, False, True),
        (torch.bfloat16, 321, True, False),
        (torch.float64, 9, True, False),
    ],
)
def test_where_plain_products_pay_on_a_cpu(dtype, tokens, gradient, plain):
    packed = torch.randn(tokens, 3 * 16).to(dtype).requires_grad_()
    with torch.set_grad_enabled(gradient):
        assert _is_short(packed, tokens) is plain


def image_by_image(query, key, value, starts, starts_of_keys, longest, longest_of_keys):
    """What torch documents of its attention over sequences of different lengths."""
    assert starts.dtype == starts_of_keys.dtype == torch.int32
    assert (longest, longest_of_keys) == (9, 9)
    rows = []
    for begin, end in pairwise(starts.tolist()):
        q, k, v = (x[begin:end].transpose(0, 1) for x in (query, key, value))
        rows.append((((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(0, 1))
    assert torch.equal(starts, starts_of_keys)
    assert end == len(query)
    return torch.cat(rows)


def test_attention_of_all_lengths_by_one_call(monkeypatch):
    monkeypatch.setattr(joined_attention, 'varlen_attn', image_by_image)
    pack = TokenPack([torch.zeros(b, t, 16) for b, t in SHAPES])
    packed = torch.randn(len(pack.rows), 3 * 16, dtype=torch.float64).requires_grad_()
    found = joined_attention.attend_joined(packed, pack.starts, 9, 2)
    expected = attend_within(packed, SHAPES, 2, [None] * len(SHAPES))
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(found)
    torch.testing.assert_close(
        *(torch.autograd.grad(out, packed, grad)[0] for out in (found, expected))
    )
    assert not joined_attention.can_join(packed.bfloat16(), 2)  # on a CPU


@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)],
)
def test_attention_to_other_tokens(dtype, tolerance):
    shapes = (2, 3, 4, 8), (2, 3, 7, 8), (2, 3, 7, 8)
    ours = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    theirs = [x.detach().double().requires_grad_() for x in ours]
    query, key, value = theirs
    expected = (query @ key.mT / 8**0.5).softmax(-1) @ value
    out, grad = attend(*ours), torch.randn(shapes[0]).to(dtype)
    out.backward(grad)
    expected.backward(grad.double())
    pairs = [(out, expected), *((x.grad, y.grad) for x, y in zip(ours, theirs, strict=True))]
    for found, wanted in pairs:
        allowed = tolerance * float(wanted.detach().std())
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=allowed)
