"""Options that make a run with the shipped configuration small."""

from pathlib import Path
from typing import Any

from tests.tiny import ROOT

FOLDER = ROOT / 'configs/downstream/semantic_segmentation'
CONFIG = FOLDER / 'upernet_ade20k.py'
ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SIZE = (64, 64)


def options(work_dir: Path, root: Path) -> dict[str, Any]:
    """Options for seconds: 64 pixels, narrow heads."""
    changes = {
        'model.data_preprocessor.size': SIZE,
        'model.backbone.encoder.img_size': SIZE,
        'model.decode_head.channels': 32,
        'model.auxiliary_head.channels': 16,
        'model.test_cfg.crop_size': SIZE,
        'model.test_cfg.stride': (43, 43),
        'train_dataloader.dataset.pipeline.2.scale': (256, 64),
        'train_dataloader.dataset.pipeline.2.ratio_range': (1.0, 1.5),
        'train_dataloader.dataset.pipeline.3.crop_size': SIZE,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    for loader in LOADERS:
        changes[f'{loader}.dataset.data_root'] = str(root)
        changes[f'{loader}.num_workers'] = 0
        changes[f'{loader}.persistent_workers'] = False
        changes[f'{loader}.pin_memory'] = False
        if loader != LOADERS[0]:
            changes[f'{loader}.dataset.pipeline.1.scale'] = (256, 64)
    return changes
