"""Operations of one step per image, counted at the real sizes without computing anything."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from saip.analysis.flops import count_flops
from saip.registry import MODELS
from saip.structures import PatchMask, View, Views
from tests.tiny import ROOT, total

# The same losses computed plainly: every view through all blocks, decoders once per query.
PLAIN_GFLOP = 85.2


def official_step(k: int) -> int:
    """Operations per image of a ``saip-official`` step with both views at k/8."""
    cfg = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/saip-official.py')
    cfg.model.backbone = dict(type='saip.ViTEncoder', **cfg.encoder_options)
    b = 2
    with torch.device('meta'):
        model = MODELS.build(cfg.model).train()
        index = torch.zeros(b, 200, dtype=torch.long)
        images = dict(
            anchor=torch.empty(b, 3, 256, 128),
            augmented=torch.empty(b, 3, 256, 128),
            local_crops=torch.empty(6 * b, 3, 128, 64),
            multires_0=torch.empty(b, 3, 16 * k // 16 * 16, 8 * k // 16 * 16),
            multires_1=torch.empty(b, 3, 16 * k // 16 * 16, 8 * k // 16 * 16),
            masked=torch.empty(b, 3, 320, 160),
            scene=torch.empty(b, 3, 224, 224),
        )
        mask = PatchMask(index[:, :50], index, index[:, :150], torch.ones(b, 150))
        views = Views(
            {name: View(x, mask if name == 'masked' else None) for name, x in images.items()},
            {'scene_masks': torch.empty(b, 2, 224, 224)},
        )
    return count_flops(lambda: total(model.loss(views)).backward()) / b


def test_attention_is_counted():
    q, k, v = (torch.randn(2, 3, 50, 16, requires_grad=True) for _ in range(3))
    forward = count_flops(lambda: F.scaled_dot_product_attention(q, k, v))
    # Two products of (50 x 16) by (16 x 50) matrices and back, for 2 x 3 heads.
    assert forward == 2 * (2 * 6 * 50 * 50 * 16)
    both = count_flops(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())
    assert both == 3 * forward


def test_linear_and_convolution_are_counted():
    x, weight = torch.randn(4, 8), torch.randn(5, 8)
    assert count_flops(lambda: F.linear(x, weight)) == 2 * 4 * 8 * 5
    image, kernel = torch.randn(1, 3, 8, 8), torch.randn(6, 3, 3, 3)
    expected = 2 * 6 * 3 * 9 * 64
    assert count_flops(lambda: F.conv2d(image, kernel, padding=1)) == expected


def test_a_step_of_the_release_costs_less_than_computed_plainly():
    mean = sum(official_step(k) for k in (6, 7, 9, 10)) / 4 / 1e9
    print(f'saip-official: {mean:.2f} GFLOP per image and step')
    assert mean == pytest.approx(70, abs=4)
    assert mean <= 0.875 * PLAIN_GFLOP
