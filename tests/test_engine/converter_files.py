"""Files and calls that the tests of the converters share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saip.checkpoint import export_backbone
from saip.models.backbones import BaseEncoder
from saip.registry import MODELS

ROOT = Path(__file__).parents[2]
VIT = dict(type='saip.ViTEncoder', arch='deit-tiny', img_size=(256, 128))
STARNET = dict(type='saip.TimmEncoder', model='starnet_s3', img_size=(256, 128))
TINYVIT = dict(type='saip.TimmEncoder', model='tiny_vit_5m_224', img_size=(256, 128))
STATISTICS = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], color_order='RGB')


def shake(module: nn.Module) -> None:
    """Give every tensor values that no construction gives it, BatchNorm's statistics too."""
    generator = torch.Generator().manual_seed(1)
    for name, x in module.state_dict().items():
        if x.is_floating_point():
            noise = torch.rand(x.shape, generator=generator)
            x.copy_(0.5 + noise if name.endswith('running_var') else x + 0.1 * (noise - 0.5))
        else:
            x.fill_(7)


def make_encoder(cfg: dict[str, Any]) -> BaseEncoder:
    encoder = MODELS.build(cfg)
    encoder.init_weights()
    shake(encoder)
    return encoder.eval()


def export(encoder: BaseEncoder, folder: Path) -> Path:
    """What tools/export_backbone.py writes of a training of this encoder."""
    checkpoint = {
        'state_dict': {f'backbone.{key}': x for key, x in encoder.state_dict().items()},
        'meta': {
            'architecture': encoder.architecture(),
            'statistics': STATISTICS,
            'preset': 'saip',
            'objectives': ['csm'],
            'data': ['lup1m'],
            'epoch': 300,
        },
    }
    return export_backbone(checkpoint, folder)


def images(height: int = 256, width: int = 128) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))


def same_bits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Same keys, types and bits."""
    return ours.keys() == theirs.keys() and all(
        ours[key].dtype == x.dtype and torch.equal(ours[key], x) for key, x in theirs.items()
    )
