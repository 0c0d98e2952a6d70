"""Options that make a run with the shipped configuration small."""

from pathlib import Path
from typing import Any

from tests.tiny import ROOT

CONFIG = ROOT / 'configs/downstream/instance_segmentation/mask-rcnn_coco.py'
ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
WIDTH, LONG = 32, 160
_RESIZED = dict(
    type='RandomChoiceResize', scales=[(96, LONG), (112, LONG), (128, LONG)], keep_ratio=True
)
_CUT = dict(
    type='RandomCrop',
    crop_type='absolute_range',
    crop_size=(80, 120),
    allow_negative_crop=True,
)


def options(work_dir: Path, root: Path) -> dict[str, Any]:
    """Options for seconds: 160 x 128 pixels, a narrow neck and heads, few proposals."""
    changes: dict[str, Any] = {
        'model.backbone.encoder.img_size': (128, 160),
        'model.neck.out_channels': WIDTH,
        'model.rpn_head.in_channels': WIDTH,
        'model.rpn_head.feat_channels': WIDTH,
        'model.roi_head.bbox_roi_extractor.out_channels': WIDTH,
        'model.roi_head.bbox_head.in_channels': WIDTH,
        'model.roi_head.bbox_head.conv_out_channels': WIDTH,
        'model.roi_head.bbox_head.fc_out_channels': 64,
        'model.roi_head.mask_roi_extractor.out_channels': WIDTH,
        'model.roi_head.mask_head.in_channels': WIDTH,
        'model.roi_head.mask_head.conv_out_channels': WIDTH,
        'model.roi_head.mask_head.num_convs': 1,
        'model.train_cfg.rpn_proposal.max_per_img': 64,
        'model.train_cfg.rcnn.sampler.num': 32,
        'model.test_cfg.rpn.max_per_img': 64,
        'model.test_cfg.rcnn.max_per_img': 8,
        'train_dataloader.dataset.pipeline.3.transforms': [
            [_RESIZED],
            [_RESIZED, _CUT, _RESIZED],
        ],
        'train_dataloader.batch_size': 2,
        'train_cfg.max_epochs': 1,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
        **data_options(root),
    }
    for loader in LOADERS[1:]:
        changes[f'{loader}.dataset.pipeline.1.scale'] = (LONG, 128)
    return changes


def data_options(root: Path) -> dict[str, Any]:
    """Options that read a set with the process itself."""
    validation = str(root / 'annotations/instances_val2017.json')
    changes: dict[str, Any] = {
        'val_evaluator.ann_file': validation,
        'test_evaluator.ann_file': validation,
    }
    for loader in LOADERS:
        changes[f'{loader}.dataset.data_root'] = str(root)
        changes[f'{loader}.num_workers'] = 0
        changes[f'{loader}.persistent_workers'] = False
    return changes
