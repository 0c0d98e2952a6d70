"""Options that make a run with the shipped configuration small."""

from pathlib import Path
from typing import Any

from tests.tiny import ROOT

CONFIG = ROOT / 'configs/downstream/part_attributes/ke-rcnn_fashionpedia.py'
ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SIZE = 128


def options(work_dir: Path, root: Path) -> dict[str, Any]:
    """Options for seconds: 128 pixels, narrow heads, few proposals."""
    changes = {
        'model.roi_head.bbox_head.conv_out_channels': 32,
        'model.roi_head.bbox_head.fc_out_channels': 32,
        'model.roi_head.mask_head.conv_out_channels': 32,
        'model.roi_head.mask_head.num_convs': 1,
        'model.roi_head.attribute_head.class_channels': 32,
        'model.roi_head.attribute_head.channels': 32,
        'model.roi_head.attribute_head.hidden': 32,
        'model.roi_head.max_garments': 6,
        'model.train_cfg.rpn_proposal.max_per_img': 64,
        'model.train_cfg.rcnn.sampler.num': 32,
        'model.test_cfg.rpn.max_per_img': 32,
        'model.test_cfg.rcnn.max_per_img': 8,
        'train_dataloader.dataset.pipeline.2.scale': (SIZE, SIZE),
        'train_dataloader.batch_size': 2,
        'train_cfg.max_epochs': 1,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
        **data_options(root),
    }
    for loader in LOADERS[1:]:
        changes[f'{loader}.dataset.pipeline.1.scale'] = (SIZE, SIZE)
    return changes


def data_options(root: Path) -> dict[str, Any]:
    """Options that read a set with the process itself."""
    validation = str(root / 'instances_attributes_val2020.json')
    changes: dict[str, Any] = {
        'val_evaluator.ann_file': validation,
        'test_evaluator.ann_file': validation,
    }
    for loader in LOADERS:
        changes[f'{loader}.dataset.data_root'] = str(root)
        changes[f'{loader}.num_workers'] = 0
        changes[f'{loader}.persistent_workers'] = False
    return changes
