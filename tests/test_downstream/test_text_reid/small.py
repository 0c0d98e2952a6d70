"""Options that make a run of seconds of the shipped configurations."""

from pathlib import Path

from tests.tiny import ROOT

CUHK, ICFG = (
    str(ROOT / f'configs/downstream/text_reid/irra_{name}.py')
    for name in ('cuhk-pedes', 'icfg-pedes')
)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
TEXT = {
    'model.text.width': 64,
    'model.text.layers': 2,
    'model.text.heads': 2,
    'model.text.context': 32,
    'model.text.vocab_size': 700,
    'model.text.dims': 64,
    'model.head.vocab_size': 700,
    'model.head.dims': 64,
    'model.head.heads': 2,
    'model.head.layers': 1,
}
"""A text transformer of 0.1 million parameters, and a head as small."""


def short(work_dir: Path, root: str) -> dict:
    """Options for an epoch in one process, four captions a batch."""
    options = {
        'train_dataloader.batch_size': 4,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    for loader in LOADERS:
        options[f'{loader}.dataset.data_root'] = root
        options[f'{loader}.num_workers'] = 0
        options[f'{loader}.persistent_workers'] = False
    return options


def small(work_dir: Path, root: str, identities: int) -> dict:
    """The same with 64x32 pixels and a small text transformer."""
    options = short(work_dir, root) | {
        **TEXT,
        'model.backbone.img_size': (64, 32),
        'model.head.num_classes': identities,
        'train_dataloader.dataset.pipeline.3.crop_size': (64, 32),
    }
    for loader in LOADERS:
        options[f'{loader}.dataset.pipeline.1.scale'] = (32, 64)
    return options
