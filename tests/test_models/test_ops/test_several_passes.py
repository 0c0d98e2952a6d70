"""One call for the weights of all passes, against torch's own way, pass by pass."""

from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from saip.models.backbones import TimmEncoder
from saip.models.backbones.patch_resnet import PatchResNetEncoder
from saip.models.ops.lowered_weights import laid_as
from saip.models.ops.several_passes import several_passes
from saip.structures import EncodeRequest, Outputs

SIZES = [(64, 32), (32, 16), (64, 64)]


class Standardized(nn.Conv2d):
    """A convolution that computes with another weight than its own, in full precision."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.weight.dtype != torch.bfloat16
        return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias, padding=1)


def network() -> nn.Module:
    """A branch of a pass alone, and a frozen layer."""
    torch.manual_seed(0)
    layers = nn.ModuleDict(
        {
            'stem': nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            'odd': Standardized(8, 8, 3),
            'own': nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, momentum=None)),
            'head': nn.Linear(8, 4),
        }
    )
    layers['stem'][1].bias.requires_grad_(False)
    return layers


def run(layers: nn.Module, together: bool) -> list[Tensor]:
    """Outputs, gradients and buffers after three passes, the second of which stops early."""
    layers.zero_grad()
    torch.manual_seed(1)
    kind = next(layers.parameters()).dtype
    images = [torch.randn(4, 3, *size, dtype=kind) for size in SIZES]
    outputs = []
    with several_passes(layers, 3) if together else nullcontext(lambda number: None) as begin:
        for number, x in enumerate(images):
            begin(number)
            y = layers['odd'](layers['stem'](x))
            if number != 1:
                y = layers['own'](y)
            outputs.append(layers['head'](y.mean((2, 3))))
    sum(
        (x.float() if x.dtype == torch.bfloat16 else x).square().sum() for x in outputs
    ).backward()
    return [
        *(x.detach() for x in outputs),
        *(p.grad for p in layers.parameters() if p.grad is not None),
        *(b.clone() for b in layers.buffers()),
    ]


@pytest.mark.parametrize('precision', [torch.float64, torch.bfloat16])
def test_the_same_numbers(precision):
    results = []
    for together in (False, True):
        layers = network()
        if precision == torch.float64:
            layers.double()
        with torch.autocast('cpu', torch.bfloat16, enabled=precision == torch.bfloat16):
            results.append(run(layers, together))
    assert len(results[0]) == 3 + 11 + 6
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_what_is_frozen_needs_no_gradient():
    layers = network()
    layers['stem'][0].requires_grad_(False)
    x = torch.randn(2, 3, 8, 8)
    for passes in (1, 2):
        with torch.autocast('cpu', torch.bfloat16), several_passes(layers, passes) as begin:
            begin(passes - 1)
            assert not layers['stem'][0](x).requires_grad
            assert layers['head'](x.mean((2, 3)).repeat(1, 3)[:, :8]).requires_grad


def test_gradients_lie_as_their_weights():
    # Sides of length 1 may have any stride.
    values = torch.arange(12.0)
    grad = values.as_strided((4, 3, 1, 1), (3, 1, 3, 3))
    laid = laid_as(grad, (3, 1, 1, 1))
    assert laid.stride() == (3, 1, 1, 1)
    assert torch.equal(laid, grad)
    turned = torch.zeros(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    assert laid_as(turned, (12, 4, 2, 1)) is turned


def test_weights_and_counters_are_back_even_after_an_error():
    layers = network()
    parameters = dict(layers.named_parameters())
    buffers = dict(layers.named_buffers())

    def fail() -> None:
        with several_passes(layers, 2) as begin:
            begin(0)
            assert layers['head'].weight is not parameters['head.weight']
            layers['stem'](torch.randn(2, 3, 8, 8))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(parameters[name] is p for name, p in layers.named_parameters())
    assert all(buffers[name] is b for name, b in layers.named_buffers())
    assert int(layers['stem'][1].num_batches_tracked) == 1


class Kernels(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


ENCODERS = {
    'mobilenet': lambda: TimmEncoder(
        'mobilenetv4_conv_small', img_size=(64, 32), out_type='image_token'
    ),
    'patch-resnet': lambda: PatchResNetEncoder(img_size=(64, 32), out_type='image_token'),
}


@pytest.mark.parametrize('name', ENCODERS)
def test_an_encoder_adds_up_and_casts_once(name):
    encoder = ENCODERS[name]().train()
    requests = [
        EncodeRequest(torch.randn(2, 3, *size), Outputs(image_token=True)) for size in SIZES
    ]
    layers = [m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in encoder.modules() if isinstance(m, _BatchNorm)]
    with Kernels() as kernels:
        with torch.autocast('cpu', torch.bfloat16):
            features = encoder.encode_requests(requests)
        tokens = [x.require_final().require_image_token().float() for x in features]
        sum(x.square().sum() for x in tokens).backward()
    learnt = [p for p in encoder.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in learnt)
    # A cast of each weight, and 2 additions for each weight and norm, would be more than these.
    assert kernels.found['_foreach_copy_'] == 2
    assert kernels.found['_foreach_add_'] == 1  # the counters
    assert kernels.found['_to_copy'] < 2 * len(layers)
    # The sums, and the counters of each pass, which lie on the CPU.
    assert kernels.found['add'] < 2 * len(learnt)
    assert kernels.found['add_'] <= len(SIZES) * len(norms)
    assert all(int(m.num_batches_tracked) == len(SIZES) for m in norms)


def test_an_expert_casts_once():
    encoder = ENCODERS['patch-resnet']().eval()
    requests = [EncodeRequest(torch.randn(1, 3, 64, 32), Outputs(dense=True))] * 2
    with Kernels() as kernels, torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        encoder.encode_requests(requests)
    assert kernels.found['_foreach_copy_'] == 1
    assert all(p.dtype == torch.float32 for p in encoder.parameters())
