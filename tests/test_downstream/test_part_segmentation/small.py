"""A small segmentor and the shipped configuration with small numbers."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from saip.downstream.part_segmentation.affine import fit
from saip.registry import MODELS
from tests.tiny import ROOT

CONFIG = ROOT / 'configs/downstream/part_segmentation/schp_lip.py'
SETTINGS = CONFIG.with_name('schp-settings_lip.py')
SIZE = (64, 64)
TINY = dict(
    type='saip.FeaturePyramid',
    encoder=dict(
        type='saip.ViTEncoder',
        feature_level=0,
        img_size=SIZE,
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    ),
)
HEAD = dict(channels=8, pool_channels=4, edge_channels=4, detail_channels=6, dropout_ratio=0.0)


def segmentor(
    num_classes: int = 4,
    test_cfg: dict[str, Any] | None = None,
    size: tuple[int, int] = SIZE,
    **head: Any,
) -> Any:
    model = MODELS.build(
        dict(
            type='saip.SelfCorrectingSegmentor',
            backbone={**TINY, 'encoder': {**TINY['encoder'], 'img_size': size}},
            decode_head=dict(
                type='saip.CE2PHead',
                in_channels=[4, 8, 16, 16],
                num_classes=num_classes,
                **{**HEAD, **head},
            ),
            data_preprocessor=dict(
                type='mmseg.SegDataPreProcessor',
                mean=[127.0] * 3,
                std=[64.0] * 3,
                bgr_to_rgb=True,
                size=size,
                pad_val=0,
                seg_pad_val=255,
            ),
            test_cfg=ConfigDict(mode='whole', **(test_cfg or {})),
        )
    )
    model.init_weights()
    return model.train()


def batch(
    count: int = 2,
    num_classes: int = 4,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    image: tuple[int, int] | None = None,
) -> dict[str, list]:
    """What a loader gives: uint8 images and their samples, of images of another size if wanted."""
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for _ in range(count):
        coarse = torch.randint(0, num_classes, (1, 1, 4, 4), generator=generator).float()
        labels = torch.nn.functional.interpolate(coarse, size)[0].long()
        noise = torch.randint(0, 60, (3, *size), generator=generator)
        inputs.append((labels * 60 + noise).clamp(0, 255).to(torch.uint8))
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        sample.set_metainfo(
            dict(ori_shape=image or size, img_shape=size, affine=fit(image or size, size))
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def without_chance(cfg: Config) -> None:
    """Take the small encoder, and the training images as they are."""
    cfg.model.backbone = ConfigDict(TINY)
    cfg.model.decode_head.in_channels = [4, 8, 16, 16]
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'RandomFlip':
            step.prob = 0.0
        if step.type == 'saip.PersonAffine':
            step.update(scale_std=0.0, rotation_prob=0.0)


def config(lip: Path, work_dir: Path, real_size: bool = False, **changes: Any) -> Config:
    """The shipped configuration with short runs; with small images and head or its own."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(work_dir)
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    for loader in loaders:
        loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
        loader.dataset.data_root = str(lip)
    if not real_size:
        cfg.model.data_preprocessor.size = SIZE
        cfg.model.backbone.encoder.img_size = SIZE
        cfg.model.decode_head.update(HEAD)
        for step in (step for loader in loaders for step in loader.dataset.pipeline):
            if step.type == 'saip.PersonAffine':
                step.size = SIZE
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    cfg.merge_from_dict(changes)
    return cfg
