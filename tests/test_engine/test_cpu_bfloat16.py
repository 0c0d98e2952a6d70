"""bfloat16 on a CPU only where its kernels are right."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from saip.engine import cpu_bfloat16
from saip.engine.amp import AutocastOptimWrapper
from saip.engine.cpu_bfloat16 import has_instructions, overlapping_strides
from saip.registry import MODELS
from tests.tiny import ROOT

FRAGMENTS = ROOT / 'configs/_base_/backbones'


@pytest.mark.parametrize(
    ('layer', 'unsafe'),
    [
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), True),
        (nn.Conv2d(8, 8, 3, stride=(1, 2), padding=1), True),
        (nn.Conv2d(8, 8, 7, stride=2, padding=3, groups=8), True),
        (nn.Conv2d(3, 8, 16, stride=16), False),  # patches
        (nn.Conv2d(8, 8, 2, stride=2), False),
        (nn.Conv2d(8, 8, 1, stride=2), False),
        (nn.Conv2d(8, 8, 3, padding=1), False),
        (nn.Linear(8, 8), False),
    ],
)
def test_overlapping_windows_with_a_stride_are_found(layer, unsafe):
    assert bool(list(overlapping_strides(nn.Sequential(layer)))) is unsafe


@pytest.mark.parametrize(
    ('fragment', 'unsafe'),
    [('vit-tiny-p16', False), ('starnet-s3', True), ('tinyvit-5m', True)],
)
def test_of_the_papers_encoders_a_vit_alone_is_safe(fragment, unsafe):
    with torch.device('meta'):
        encoder = MODELS.build(Config.fromfile(FRAGMENTS / f'{fragment}.py').backbone)
    assert bool(list(overlapping_strides(encoder))) is unsafe


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('flags : fpu sse2 avx512f avx512_bf16 amx_bf16', True),
        ('flags : fpu avx512f avx512_bf16', True),
        ('flags : fpu avx2 avx512f avx512_vnni avx512_fp16', False),
        ('Features : fp asimd i8mm bf16', True),
        ('Features : fp asimd', False),
    ],
)
def test_instructions_are_found_in_what_linux_says(tmp_path, line, expected):
    processor = tmp_path / 'cpuinfo'
    processor.write_text(f'processor : 0\n{line}\nbugs : none\n')
    assert has_instructions(processor) is expected
    assert has_instructions(tmp_path / 'missing') is False


class Seen(nn.Module):
    """Remembers the type that its convolution gave."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.dtype = y.dtype
        return y.float().mean()


@pytest.mark.parametrize(
    ('stride', 'instructions', 'dtype', 'seen'),
    [
        (1, True, 'bfloat16', torch.bfloat16),
        (2, True, 'bfloat16', torch.float32),
        (1, False, 'bfloat16', torch.float32),
        (2, True, 'float32', torch.float32),
    ],
)
def test_the_wrapper_computes_in_float32_where_it_must(
    stride, instructions, dtype, seen, monkeypatch
):
    monkeypatch.setattr(cpu_bfloat16, 'has_instructions', lambda: instructions)
    model = Seen(stride)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AutocastOptimWrapper(optimizer=optimizer, dtype=dtype)
    for _ in range(2):
        with wrapper.optim_context(model):
            loss = model(torch.randn(2, 3, 8, 8))
        wrapper.update_params(loss)
        assert model.dtype == seen
