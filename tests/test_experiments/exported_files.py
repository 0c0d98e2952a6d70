"""Exported backbones of small encoders, and a task to fine-tune them on."""

from pathlib import Path

from mmengine.config import Config

from saip.checkpoint import export_backbone
from saip.experiments.compared_encoders import random_twin
from saip.models.backbones import build_encoder
from tests.tiny import ROOT

FRAGMENTS = ROOT / 'configs/_base_/backbones'
REID = str(ROOT / 'configs/downstream/reid/transreid_market1501.py')
ARCH = {'embed_dims': 48, 'num_layers': 2, 'num_heads': 3, 'feedforward_channels': 96}
BACKBONE = {
    'type': 'saip.ViTEncoder',
    'arch': ARCH,
    'img_size': (64, 32),
    'patch_size': 16,
    'feature_level': 0,
}


def export(run: Path, epoch: int | None, backbone=BACKBONE, seed: int | None = None, **meta):
    """Export an encoder as the hook does during a pretraining."""
    encoder = random_twin(build_encoder(backbone), epoch or 0 if seed is None else seed)
    cfg = Config({'model': {'type': 'saip.SAIP', 'backbone': backbone}}).pretty_text
    checkpoint = {
        'state_dict': {f'backbone.{k}': v for k, v in encoder.state_dict().items()},
        'meta': {'cfg': cfg, 'epoch': epoch, **meta},
    }
    return export_backbone(checkpoint, run / 'backbones', name=f'backbone_epoch_{epoch}')


def four_blocks() -> dict:
    """The smallest encoder that has a fragment, vit-4blocks-p16, at 64x32 pixels."""
    fragment = Config.fromfile(FRAGMENTS / 'vit-4blocks-p16.py').backbone
    return {**fragment, 'img_size': (64, 32)}


def reid_options(people: Path) -> list[str]:
    """Options after ``--cfg-options`` that fine-tune on tiny people for seconds."""
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [
        'model.backbone.img_size=(64,32)',
        'model.head.num_classes=6',
        'train_dataloader.batch_size=4',
        'train_dataloader.batch_sampler.instances=2',
        'train_dataloader.dataset.pipeline.3.crop_size=(64,32)',
        'train_cfg.max_epochs=1',
        'optim_wrapper.dtype=float32',
        *(f'{loader}.dataset.data_root={people}' for loader in loaders),
        *(f'{loader}.dataset.pipeline.1.scale=(32,64)' for loader in loaders),
        *(f'{loader}.num_workers=0' for loader in loaders),
        *(f'{loader}.persistent_workers=False' for loader in loaders),
    ]
