import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from saip.models.backbones import ViTEncoder
from saip.models.ops import layer_norm
from saip.models.ops.blocks import SelfBlock
from saip.models.ops.lowered_weights import lowered_weights
from saip.models.ops.precision import FullPrecision


class Casts(TorchDispatchMode):
    """Counts the tensors that are cast one by one."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


class Wide(FullPrecision, nn.Module):
    """Computes a weight in full precision, inside of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)


def gradients(model: nn.Module, x: torch.Tensor, lowered: bool) -> list[torch.Tensor]:
    """Output and gradients under autocast."""
    model.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        if lowered:
            with lowered_weights(model):
                out = model(x)
        else:
            out = model(x)
    out.float().square().mean().backward()
    return [out.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def test_the_same_numbers_with_fewer_casts():
    torch.manual_seed(0)
    model, x = nn.Sequential(SelfBlock(16, 2), SelfBlock(16, 2)), torch.randn(2, 5, 16)
    counts, found = [], []
    for lowered in (False, True):
        with Casts() as casts:
            found.append(gradients(model, x, lowered))
        counts.append(casts.number)
    for plain, ours in zip(*found, strict=True):
        assert torch.equal(plain, ours)
    assert counts[0] - counts[1] >= 2 * 2 * 8  # 8 tensors of two blocks, forth and back


def test_weights_are_back_even_after_an_error():
    block = SelfBlock(16, 2)
    block.wide = Wide()
    model = nn.Sequential(block, nn.Linear(16, 16))
    names = dict(model.named_parameters())
    with torch.autocast('cpu', torch.bfloat16):
        try:
            with lowered_weights(model):
                assert block.mlp.fc1.weight.dtype == torch.bfloat16
                assert block.norm1.weight.dtype == torch.float32
                assert block.wide.layer.weight.dtype == torch.float32
                assert model[1].weight.dtype == torch.float32  # not known to be under autocast
                raise KeyError
        except KeyError:
            pass
    assert all(names[name] is weight for name, weight in model.named_parameters())


def test_norms_of_blocks_alone_are_lowered_on_a_gpu(monkeypatch):
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    encoder = ViTEncoder(arch=arch, img_size=(32, 32), feature_level=0)
    model = nn.Sequential(encoder)
    for widening in (('cpu',), ()):
        monkeypatch.setattr(layer_norm, 'WIDENING', widening)
        with torch.autocast('cpu', torch.bfloat16), lowered_weights(model):
            lowered = {norm.weight.dtype == torch.bfloat16 for norm in norms_of_blocks(encoder)}
            assert lowered == {not widening}
            assert encoder.ln1.weight.dtype == torch.float32  # the final one


def norms_of_blocks(encoder: ViTEncoder) -> list[nn.LayerNorm]:
    return [norm for layer in encoder.layers for norm in (layer.ln1, layer.ln2)]


def test_nothing_without_autocast():
    model = nn.Sequential(SelfBlock(16, 2))
    with lowered_weights(model):
        assert model[0].mlp.fc1.weight.dtype == torch.float32
