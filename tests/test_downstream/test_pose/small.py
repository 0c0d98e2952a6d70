"""The shipped configurations with small images and short runs, and the sets they read."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmpose.datasets import AP10KDataset, CocoDataset, CocoWholeBodyDataset, HumanArtDataset
from mmpose.datasets.datasets.base import BaseCocoStyleDataset

from saip.downstream.pose import ChimpACT
from saip.engine.launch import read_config
from tests.tiny import ROOT


class Task(NamedTuple):
    """A configuration, its metrics' prefix, landmarks, annotations of its test, mmpose's class."""

    config: str
    prefix: str
    landmarks: int
    tested: str
    library: type[BaseCocoStyleDataset]


TASKS = {
    'coco': Task(
        'vitpose_coco',
        'coco',
        17,
        'coco/annotations/person_keypoints_val2017.json',
        CocoDataset,
    ),
    'wholebody': Task(
        'vitpose_wholebody',
        'coco-wholebody',
        133,
        'coco/annotations/coco_wholebody_val_v1.0.json',
        CocoWholeBodyDataset,
    ),
    'humanart': Task(
        'vitpose_humanart',
        'coco',
        17,
        'HumanArt/annotations/validation_humanart.json',
        HumanArtDataset,
    ),
    'ap10k': Task(
        'vitpose_ap10k',
        'coco',
        17,
        'ap10k/annotations/ap10k-test-split1.json',
        AP10KDataset,
    ),
    'chimpact': Task(
        'vitpose_chimpact',
        'coco',
        16,
        'ChimpACT/annotations/test.json',
        ChimpACT,
    ),
}
ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SMALL = (64, 96)  # (width, height), whole cells of stride 32


def path(task: str) -> str:
    return str(ROOT / f'configs/downstream/pose/{TASKS[task].config}.py')


def resized(task: str, size: tuple[int, int] = SMALL) -> dict[str, Any]:
    """Options for another image size (width, height), heatmaps of stride 4."""
    cfg = read_config(path(task))
    codec = dict(input_size=size, heatmap_size=(size[0] // 4, size[1] // 4))
    options: dict[str, Any] = {'model.backbone.img_size': size[::-1]}
    options |= {f'model.head.decoder.{key}': value for key, value in codec.items()}
    for loader in LOADERS:
        for index, step in enumerate(cfg[loader].dataset.pipeline):
            place = f'{loader}.dataset.pipeline.{index}'
            if step.type == 'TopdownAffine':
                options[f'{place}.input_size'] = size
            if step.type == 'GenerateTarget':
                options |= {f'{place}.encoder.{key}': value for key, value in codec.items()}
    return options


def short(work_dir: Path, batch: int = 4, samples: int = 8) -> dict[str, Any]:
    """Options for an epoch of so many samples in one process, then an evaluation."""
    options: dict[str, Any] = {
        'work_dir': str(work_dir),
        'train_dataloader.batch_size': batch,
        'train_dataloader.dataset.indices': samples,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'model.backbone.drop_path_rate': 0.0,  # a branch may be dropped for a whole small batch
        'param_scheduler': [],  # the warm-up's first steps are too small for float32
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.save_optimizer': False,
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    for loader in LOADERS:
        options |= {
            f'{loader}.num_workers': 0,
            f'{loader}.persistent_workers': False,
            f'{loader}.pin_memory': False,
        }
    return options


def points(row: dict, landmarks: int) -> np.ndarray:
    """(K, 3) of an annotation or a result of COCO or COCO-WholeBody."""
    parts = ('foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')
    names = ('keypoints', *parts) if landmarks == 133 else ('keypoints',)
    return np.concatenate([np.asarray(row[name], float).reshape(-1, 3) for name in names])


def shown(document: dict) -> list[dict]:
    """Annotations of an instance of which a landmark is visible."""
    rows = document['annotations']
    return [row for row in rows if not row['iscrowd'] and any(row['keypoints'][2::3])]
