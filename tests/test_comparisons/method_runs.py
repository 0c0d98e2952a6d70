"""Trainings of the comparison's leaves with small encoders, in this process."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.launch import join_processes
from saip.engine.unwrap import unwrap
from saip.registry import HOOKS
from tests.test_recordings.runs import Canvases
from tests.tiny import ARCH, ROOT

CONFIGS = ROOT / 'configs/pretrain'
BATCH, PER_EPOCH = 3, 2
SIZE, SMALL = (64, 32), (32, 16)
NARROW = {
    'saip.DINOProjector': dict(hidden_channels=32, bottleneck_channels=16, out_channels=24),
    'saip.MaskedPatchDecoder': dict(dims=32, depth=2, num_heads=4),
}
"""Options that make a neck small, by its type."""

assert Canvases.__name__ == 'Canvases', 'the import registers the data set'


@HOOKS.register_module()
class Snapshots(Hook):
    """Copies of all trained weights: before the training and after every step."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.rows: list[dict[str, torch.Tensor]] = []
        self.losses: list[dict[str, float]] = []

    def _take(self, runner: Runner) -> None:
        state = unwrap(runner.model).state_dict()
        self.rows.append({name: x.detach().clone() for name, x in state.items()})

    def before_train(self, runner: Runner) -> None:
        self._take(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._take(runner)
        self.losses.append({name: value.item() for name, value in outputs.items()})


def shrink(model: ConfigDict) -> ConfigDict:
    """A method's model with a small ViT (others stay as they are), small views and necks."""
    if model.backbone.type == 'saip.ViTEncoder':
        named = isinstance(model.backbone.arch, str)
        heads = {} if named else {'num_heads': model.backbone.arch.num_heads}
        model.backbone.arch = {**ARCH, **heads}
        if model.backbone.get('feature_level', 0) is not None:
            model.backbone.feature_level = 2
    model.data_preprocessor.size = SIZE
    for view in model.data_preprocessor.views.values():
        if 'size' in view:
            view.size = SMALL
        if view.get('mask', {}).get('type') == 'BlockMask':
            view.mask.min_patches = 2
            if 'hidden' in view.mask:  # half of the patches of SIZE
                view.mask.hidden = 4
        if view.get('type') == 'Recut' and view.get('size'):
            view.size = SMALL
        if view.get('mask', {}).get('type') == 'PartMask':
            view.mask.update(on_missing='template', min_patches=2)
    for objective in model.objectives.values():
        neck = objective.get('neck', {})
        neck.update(NARROW.get(neck.get('type'), {}))
        if objective.type == 'saip.SemanticParts':  # has one output for each part
            del neck['out_channels']
    model.pop('init_from', None)  # whose file is not here
    return model


def read(leaf: str, **options: Any) -> Config:
    """A leaf with a small model."""
    cfg = Config.fromfile(CONFIGS / leaf)
    cfg.model = shrink(cfg.model)
    cfg.merge_from_dict(options)
    return cfg


def build_runner(
    cfg: Config, folder: Path, epochs: int = 1, processes: int = 1, **changes: Any
) -> Runner:
    """A Runner with the leaf's model, optimizer and schedules on images of noise."""
    wrapper = {**cfg.optim_wrapper, 'dtype': 'float32'}
    run = Config(
        dict(
            default_scope='mmpretrain',
            model=cfg.model,
            work_dir=str(folder),
            train_dataloader=dict(
                batch_size=BATCH,
                num_workers=0,
                drop_last=True,
                dataset=dict(type='saip.Canvases', length=BATCH * PER_EPOCH * processes),
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=wrapper,
            param_scheduler=cfg.param_scheduler,
            default_hooks=dict(
                runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
                progress=dict(type='saip.ProgressHook'),
                logger=dict(type='LoggerHook', interval=10),
                checkpoint=dict(type='saip.AtomicCheckpointHook', interval=1),
            ),
            custom_hooks=[dict(type='saip.Snapshots')],
            visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork')),
            randomness=dict(seed=0),
            log_level='ERROR',
            experiment_name=f'{folder.name}_{epochs}',
        )
    )
    run.merge_from_dict(changes)
    join_processes(run, 'pytorch' if processes > 1 else 'none')
    return Runner.from_cfg(run)


def train(cfg: Config, folder: Path, epochs: int = 1, **changes: Any) -> tuple[Runner, Any]:
    """Train; the Runner and its snapshots."""
    runner = build_runner(cfg, folder, epochs, **changes)
    runner.train()
    return runner, next(hook for hook in runner.hooks if isinstance(hook, Snapshots))


def train_as_one_of_two(leaves: list[str], folder: str) -> list[dict[str, Any]]:
    """Train each leaf as one of two processes; number of steps and the sums of the final state."""
    warnings.simplefilter('ignore')
    found = []
    for number, leaf in enumerate(leaves):
        runner = build_runner(read(leaf), Path(folder) / f'run_{number}', processes=2)
        runner.train()
        seen = next(hook for hook in runner.hooks if isinstance(hook, Snapshots))
        state = unwrap(runner.model).state_dict()
        found.append(
            {'steps': len(seen.losses)}
            | {name: x.double().sum().item() for name, x in state.items()}
        )
    return found
