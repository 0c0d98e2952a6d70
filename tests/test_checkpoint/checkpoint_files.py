"""A small encoder and the training configuration that tests of checkpoint files share."""

from __future__ import annotations

from typing import Any

from saip.models.backbones import ViTEncoder

ARCH = {'embed_dims': 16, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 32}
SIZE = (64, 32)
CONFIG = {
    'preset': 'saip',
    'model': {
        'type': 'saip.SAIP',
        'data_preprocessor': {
            'type': 'saip.ViewsPreprocessor',
            'size': SIZE,
            'mean': [1, 2, 3],
        },
        'backbone': {
            'type': 'saip.ViTEncoder',
            'arch': ARCH,
            'feature_level': 0,
            'init_cfg': {'type': 'Pretrained', 'checkpoint': 'gone.pth'},
        },
        'objectives': {'csm': {'type': 'saip.X'}, 'csr': None},
    },
    'train_dataloader': {
        'dataset': {'type': 'ConcatDataset', 'datasets': [{'data_root': '/secret/LUP1M/'}]}
    },
}


def small_encoder(size: tuple[int, int] = SIZE, **changes: Any) -> ViTEncoder:
    arch = {**ARCH, **changes}
    encoder = ViTEncoder(arch=arch, img_size=size, feature_level=0)
    encoder.init_weights()
    return encoder
