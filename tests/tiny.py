"""Small models and batches that several tests share."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from saip.registry import MODELS
from saip.structures import Progress

ROOT = Path(__file__).resolve().parents[1]
# Real samples in the public formats are not in the repository.
REALDATA = Path(os.environ.get('SAIP_REALDATA', ROOT.parent / 'shared/realdata'))
NO_REALDATA = f'{REALDATA} has no such samples; SAIP_REALDATA names their folder'
PRESETS = ('saip', 'saip-paper', 'saip-official')
ARCH = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96)


def preset_config(preset: str, **preprocessor) -> Config:
    """A preset's fragment with a small encoder and small decoders."""
    cfg = Config.fromfile(ROOT / f'configs/pretrain/_base_/methods/{preset}.py')
    options = dict(cfg.encoder_options)
    if options.get('feature_level', 0) is not None:
        options['feature_level'] = 2
    cfg.model.backbone = dict(type='saip.ViTEncoder', arch=ARCH, patch_size=16, **options)
    views = preprocessor.pop('views', {})
    cfg.model.data_preprocessor.update(preprocessor)
    cfg.merge_from_dict({'model': {'data_preprocessor': {'views': views}}})
    csm, csr, css = (cfg.model.objectives[name] for name in ('csm', 'csr', 'css'))
    csm.neck.update(hidden_channels=32, bottleneck_channels=16, out_channels=64)
    csr.neck.update(dims=32, depth=2, num_heads=4)
    css.neck.update(dims=32, num_heads=4)
    return cfg


def build(preset: str = 'saip', seed: int = 0, without: tuple[str, ...] = (), **preprocessor):
    """A small model of a preset, initialized, in training mode."""
    cfg = preset_config(preset, **preprocessor)
    for name in without:
        cfg.model.objectives[name] = None
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def batch(size: int = 4, first: int = 0) -> dict[str, torch.Tensor]:
    """Canvases of noise, different for every ``first``."""
    generator = torch.Generator().manual_seed(first)
    keys = torch.arange(first, first + size)
    canvas = torch.randint(0, 256, (size, 3, 40, 20), generator=generator, dtype=torch.uint8)
    canvas = torch.nn.functional.interpolate(canvas.float(), (320, 160), mode='bilinear')
    return dict(
        canvas=canvas.to(torch.uint8),
        size=torch.tensor([[300, 140]] * size),
        key=keys,
        index=keys,
        replaced=torch.full((size,), -1),
    )


def progress(step: int = 0, per_epoch: int = 10) -> Progress:
    """A place in a run of ten epochs."""
    return Progress.at(step, 10 * per_epoch, per_epoch)


def losses(model, data, step: int = 0) -> dict[str, torch.Tensor]:
    """Terms of one training step."""
    model.begin_step(progress(step))
    return model(**model.data_preprocessor(data, training=True), mode='loss')


def total(terms) -> torch.Tensor:
    """Sum of the losses, as mmengine forms it."""
    return sum(value for name, value in terms.items() if 'loss' in name)


def train(runner: Runner) -> list[str]:
    """Train; the names of the weights to learn that are still as they began."""
    runner.model.init_weights()  # here, for it does nothing when the runner calls it again
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    learnt = {name: p for name, p in runner.model.named_parameters() if p.requires_grad}
    return [name for name, p in learnt.items() if torch.equal(before[name], p)]


def settings_of(
    optimizer: torch.optim.Optimizer, model: nn.Module
) -> dict[str, tuple[float, float]]:
    """(learning rate, weight decay) of every parameter, each of which is in one group."""
    names = {id(p): name for name, p in model.named_parameters()}
    pairs = [(names[id(p)], group) for group in optimizer.param_groups for p in group['params']]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: (group['lr'], group['weight_decay']) for name, group in pairs}


LARGE = ('vit-small-p16', 'vit-base-p16', 'vit-large-p16')
"""Encoders of ImageNet, of the class of vit-tiny-p16: too large to be run by tests."""

SMALL_FRAGMENTS = [
    path
    for path in sorted((ROOT / 'configs/_base_/backbones').glob('*.py'))
    if path.stem not in LARGE
]
"""Files of the other encoders, for what is tested with all of them."""

STRIDE_16 = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ('starnet-s3-os16', 'tinyvit-5m-os16')
]
"""Encoders whose last stage keeps stride 16, for what is tested with every encoder of the paper."""


class KeptLosses(Hook):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(outputs['loss'].item())
