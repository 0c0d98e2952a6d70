"""Layer norms in half precision, against float64 and against torch's own in float32."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from saip.models.ops import layer_norm
from saip.models.ops.layer_norm import norm_tokens

ROWS, DIMS = 8192, 24


def problem() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens in bfloat16, gradients with a mean, gain and bias."""
    torch.manual_seed(0)
    tokens = torch.randn(ROWS, DIMS).bfloat16()
    return tokens, (torch.randn(ROWS, DIMS) + 0.3).bfloat16(), 1 + 0.1 * torch.randn(2, DIMS)


def in_double(tokens: Tensor, grad: Tensor, norm: Tensor) -> list[Tensor]:
    """Output and gradients by the definition, in float64."""
    x, (gain, bias) = tokens.double().requires_grad_(), norm.double()
    gain, bias = gain.requires_grad_(), bias.requires_grad_()
    centered = x - x.mean(-1, keepdim=True)
    out = gain * centered / (centered.square().mean(-1, keepdim=True) + 1e-6).sqrt() + bias
    out.backward(grad.double())
    return [out.detach(), x.grad, gain.grad, bias.grad]


def assert_near(found: list[Tensor], expected: list[Tensor], rounding: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        error = (ours.double() - theirs).norm() / theirs.norm()
        assert error < rounding


@pytest.mark.parametrize('widening', [('cpu',), ()])
def test_tokens_keep_their_type(widening):
    tokens, grad, norm = problem()
    gain, bias = (value.clone().requires_grad_() for value in norm)
    x = tokens.clone().requires_grad_()
    with (
        mock.patch.object(layer_norm, 'WIDENING', widening),
        torch.autocast('cpu', torch.bfloat16),
    ):
        out = norm_tokens(x, (gain, bias), 1e-6)
    assert out.dtype == torch.bfloat16
    out.backward(grad)
    expected = in_double(tokens, grad, norm)
    assert_near([out, x.grad], expected[:2], 4e-3)  # of 8 bits
    if widening:  # otherwise by torch's kernel, which is wrong here on a CPU
        assert_near([gain.grad, bias.grad], expected[2:], 1e-4)


def test_wide_tokens_are_normed_by_torch():
    tokens, _, norm = problem()
    for dtype in (torch.float32, torch.float64):
        x, gain, bias = (value.to(dtype) for value in (tokens, *norm))
        assert torch.equal(
            norm_tokens(x, (gain, bias), 1e-6), F.layer_norm(x, (DIMS,), gain, bias, 1e-6)
        )


@pytest.mark.parametrize('other', [nn.LayerNorm, LayerNorm2d])
def test_autocast_on_a_cpu_norms_in_float32(other):
    tokens, grad, norm = problem()
    layer = other(DIMS, eps=1e-6)
    layer.load_state_dict({'weight': norm[0], 'bias': norm[1]})

    def arranged(x: Tensor) -> Tensor:
        return x if other is nn.LayerNorm else x.view(8, 32, 32, DIMS).permute(0, 3, 1, 2)

    def rows(x: Tensor) -> Tensor:
        return x if other is nn.LayerNorm else x.permute(0, 2, 3, 1).reshape(ROWS, DIMS)

    x = arranged(tokens).clone().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.float32
    out.backward(arranged(grad).float())
    found = [rows(out.detach()), rows(x.grad), layer.weight.grad, layer.bias.grad]
    expected = in_double(tokens, grad, norm)
    assert_near([found[1]], [expected[1]], 4e-3)
    assert_near([found[0], *found[2:]], [expected[0], *expected[2:]], 1e-4)


def test_without_autocast_torch_is_as_it_was():
    tokens, _, norm = problem()
    out = F.layer_norm(tokens, (DIMS,), *norm.bfloat16())
    assert out.dtype == torch.bfloat16
