"""Options that make a run with the shipped configuration small."""

from pathlib import Path
from typing import Any

from tests.tiny import ROOT

CONFIG = ROOT / 'configs/downstream/human_parsing/parsing-rcnn_cihp.py'
ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
LONG, SHORT = 192, 128
WIDTH = 32
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def options(work_dir: Path, root: Path) -> dict[str, Any]:
    """Options for seconds: 192 x 128 pixels, a narrow neck and heads, few proposals."""
    changes = {
        'model.neck.out_channels': WIDTH,
        'model.rpn_head.in_channels': WIDTH,
        'model.rpn_head.feat_channels': WIDTH,
        'model.roi_head.bbox_roi_extractor.out_channels': WIDTH,
        'model.roi_head.mask_roi_extractor.out_channels': WIDTH,
        'model.roi_head.bbox_head.in_channels': WIDTH,
        'model.roi_head.mask_head.in_channels': WIDTH,
        'model.roi_head.bbox_head.fc_out_channels': 32,
        'model.roi_head.mask_head.branch_channels': 8,
        'model.roi_head.mask_head.channels': 32,
        'model.roi_head.max_parsed': 4,
        'model.train_cfg.rpn_proposal.max_per_img': 64,
        'model.train_cfg.rcnn.sampler.num': 32,
        'model.test_cfg.rpn.max_per_img': 64,
        'model.test_cfg.rcnn.max_per_img': 8,
        'train_dataloader.dataset.pipeline.2.scales': [(LONG, SHORT), (LONG, SHORT - 32)],
        'train_cfg.max_epochs': 1,
        'default_hooks.checkpoint.save_best': None,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
        **data_options(root),
    }
    for loader in LOADERS[1:]:
        changes[f'{loader}.dataset.pipeline.1.scale'] = (LONG, SHORT)
    return changes


def data_options(root: Path) -> dict[str, Any]:
    """Options that read a set with the process itself."""
    changes: dict[str, Any] = {}
    for loader in LOADERS:
        changes[f'{loader}.dataset.data_root'] = str(root)
        changes[f'{loader}.num_workers'] = 0
        changes[f'{loader}.persistent_workers'] = False
    return changes
