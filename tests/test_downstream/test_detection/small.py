"""Options that make a run with the shipped configuration small."""

from pathlib import Path
from typing import Any

from tests.tiny import ROOT

CONFIG = ROOT / 'configs/downstream/detection/crowddet_crowdhuman.py'
ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
LONG, SHORT = 192, 128


def options(work_dir: Path, root: Path) -> dict[str, Any]:
    """Options for seconds: 192x128 pixels, two images a batch, few proposals."""
    changes = {
        'model.data_preprocessor.batch_augments.0.scale': (LONG, SHORT),
        'model.roi_head.bbox_head.fc_out_channels': 32,
        'model.train_cfg.rpn_proposal.max_per_img': 64,
        'model.train_cfg.rcnn.sampler.num': 32,
        'model.test_cfg.rpn.max_per_img': 64,
        'test_evaluator.num_ji_process': 2,
        'train_cfg.max_epochs': 1,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
        **data_options(root),
    }
    for loader in ('val_dataloader', 'test_dataloader'):
        changes[f'{loader}.dataset.pipeline.1.scale'] = (LONG, SHORT)
    return changes


def data_options(root: Path) -> dict[str, Any]:
    """Options that read a set with the process itself."""
    changes: dict[str, Any] = {}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        changes[f'{loader}.dataset.data_root'] = str(root)
        changes[f'{loader}.num_workers'] = 0
        changes[f'{loader}.persistent_workers'] = False
    for evaluator in ('val_evaluator', 'test_evaluator'):
        changes[f'{evaluator}.ann_file'] = str(root / 'annotation_val.odgt')
    return changes
