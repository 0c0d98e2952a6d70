"""Small trainings whose numbers are recorded: every preset with the encoders that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from saip.checkpoint import write_checkpoint
from saip.models.backbones import ViTEncoder
from tests.tiny import ROOT

VIT = dict(embed_dims=8, num_layers=4, num_heads=2, feedforward_channels=16)
PATCH = 8  # of the ViT, at half of the other encoders' sizes: its checkpoints are small files
EXPERT = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=32)
PRESETS = ('saip', 'saip-paper', 'saip-official', 'saip-small', 'saip-star', 'saip-paper-star')
FRAGMENTS = ('starnet-s3', 'tinyvit-5m', 'edgenext-s', 'resnet18', 'cspnext-s')
SCHEDULES = {
    'saip-paper': '_paper',
    'saip-paper-star': '_paper',
    'saip-official': '_official',
}
STEPS = 20
BATCH = 3


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        preset: file of configs/pretrain/_base_/methods.
        encoder: ``vit`` or a file of configs/_base_/backbones.
        loop: ``epoch`` (four of five steps) or ``iter``.
        accumulated: micro-batches per optimizer step; 0 takes the preset's.
        processes: number of gloo processes, of ``BATCH`` images each.
    """

    preset: str
    encoder: str = 'vit'
    loop: str = 'epoch'
    accumulated: int = 0
    processes: int = 1

    @property
    def name(self) -> str:
        parts = [self.preset, self.encoder, self.loop]
        parts += [f'accumulated {self.accumulated}'] if self.accumulated else []
        parts += [f'{self.processes} processes'] if self.processes > 1 else []
        return ', '.join(parts)

    @property
    def slow(self) -> bool:
        return self.encoder not in ('vit', 'test_resnet')


CASES = [
    *(Case(preset) for preset in PRESETS),
    *(Case('saip', encoder) for encoder in FRAGMENTS),
    *(Case('saip-paper', encoder) for encoder in FRAGMENTS[:2]),
    *(Case(preset, 'starnet-s3') for preset in PRESETS[3:]),
    Case('saip', 'test_resnet'),
    Case('saip-small', loop='iter'),
    Case('saip', accumulated=3),
    Case('saip-paper', accumulated=3),
    Case('saip-official', accumulated=1),
    Case('saip', processes=2),
    Case('saip', 'starnet-s3', processes=2),
    Case('saip-official', processes=2),
]


def expert_file(folder: Path, patch: int) -> str:
    """The frozen expert's weights, the same on every call."""
    path = folder / 'expert.pth'
    if not path.is_file():
        with torch.random.fork_rng():
            torch.manual_seed(7)
            options = dict(arch=EXPERT, img_size=(96, 96), patch_size=patch)
            encoder = ViTEncoder(**options, feature_level=1)
            encoder.init_weights()
        state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        write_checkpoint(path, state, {'architecture': encoder.architecture()})
    return str(path)


def model_config(case: Case, folder: Path) -> ConfigDict:
    """The preset's model in small, with narrow decoders."""
    cfg = Config.fromfile(ROOT / f'configs/pretrain/_base_/methods/{case.preset}.py')
    model = cfg.model
    options = dict(cfg.encoder_options)
    if case.encoder == 'vit':
        if options.get('feature_level', 0) is not None:
            options['feature_level'] = 2
        model.backbone = dict(type='saip.ViTEncoder', arch=VIT, patch_size=PATCH, **options)
        shrink_views(model.data_preprocessor, PATCH)
    elif case.encoder == 'test_resnet':  # small enough for stored checkpoints
        model.backbone = dict(type='saip.TimmEncoder', model='test_resnet', **options)
    else:
        fragment = Config.fromfile(ROOT / f'configs/_base_/backbones/{case.encoder}.py')
        if case.encoder == 'cspnext-s':
            options.pop('drop_path_rate', None)
        model.backbone = {**fragment.backbone, **options}
    if case.encoder != 'vit':
        shrink_views(model.data_preprocessor, 16)
    csm, csr, css = (model.objectives[name] for name in ('csm', 'csr', 'css'))
    dims = 16 if case.encoder in FRAGMENTS else 8
    if 'neck' in csm:  # relations are compared as they are
        csm.neck.update(hidden_channels=dims)
        if 'DINO' in csm.neck.type:
            csm.neck.update(bottleneck_channels=8, out_channels=24)
    csr.neck.update(dims=dims, depth=1, num_heads=2)
    css.neck.update(dims=dims, num_heads=2)
    if 'star' in case.preset:
        expert = model.expert
        patch = model.data_preprocessor.patch_size
        expert.encoder.arch, expert.checkpoint = EXPERT, expert_file(folder, patch)
        expert.encoder.patch_size = patch
        expert.encoder.img_size = (96, 96)
        if expert.encoder.feature_level is not None:
            expert.encoder.feature_level = 1
    return model


def optimizer_config(case: Case) -> dict[str, Any]:
    """The preset's wrapper without autocast."""
    name = f'adamw-coslr-300e{SCHEDULES.get(case.preset, "")}.py'
    wrapper = Config.fromfile(ROOT / 'configs/pretrain/_base_/schedules' / name).optim_wrapper
    wrapper.dtype = 'float32'
    wrapper.optimizer.lr = 1e-3
    if case.accumulated:
        wrapper.accumulative_counts = case.accumulated
    return wrapper


# What follows is written in the names of the present code; the recorded numbers know none of them.


def shrink_views(preprocessor: ConfigDict, patch: int) -> None:
    """Views of a size that a CPU computes in milliseconds: 8 x 4 patches."""
    preprocessor.patch_size = patch
    preprocessor.size = (8 * patch, 4 * patch)
    views = preprocessor.views
    views.scene.size = (6 * patch, 6 * patch)
    for name in ('local_crops', 'extra_local_crop'):
        if name in views:
            views[name].size = (4 * patch, 2 * patch)
    if 'local_crops' in views:
        views.local_crops.number = 2


def hooks_config(case: Case) -> dict[str, Any]:
    """The hook that tells the model where in the run it is."""
    return dict(default_hooks=dict(progress=dict(type='saip.ProgressHook')))


LOGGED = {'csm_teacher_entropy': 'teacher_entropy', 'loss_koleo': 'loss_spread'}
"""Today's names of logged terms -> recorded names."""

OLD_NAMES = {'local_crops': 'locals', 'extra_local_crop': 'region', 'distractor': 'other'}
"""Today's names of views and draws -> recorded names."""
