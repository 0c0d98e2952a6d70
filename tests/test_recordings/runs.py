"""Run the recorded trainings through the Runner, in float64 and from stored views."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from saip.engine.launch import join_processes
from saip.engine.unwrap import unwrap
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.registry import DATASETS, HOOKS, MODELS
from saip.structures import Progress
from tests.processes import in_processes
from tests.test_recordings.cases import (
    BATCH,
    LOGGED,
    OLD_NAMES,
    STEPS,
    Case,
    hooks_config,
    model_config,
    optimizer_config,
)
from tests.tiny import batch

GROUPS = 8
"""Neighboring tensors share a recorded number: the file stays small, and each counts."""


@DATASETS.register_module()
class Canvases(Dataset):
    """Canvases that are never looked at: stored views take the place of rendered ones."""

    def __init__(self, length: int) -> None:
        self.rows = batch(length, first=100)

    def __len__(self) -> int:
        return len(self.rows['key'])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[index] for name, values in self.rows.items()}


def stored(step: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Images of noise in float64 that depend on nothing but the arguments."""
    word = int.from_bytes(blake2b(f'{step} {name}'.encode(), digest_size=7).digest(), 'little')
    generator = torch.Generator().manual_seed(word)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@MODELS.register_module()
class StoredViews(ViewsPreprocessor):
    """Draws and renders as always, then keeps sizes and masks and exchanges the images."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        step = -1 if self._progress is None else self._progress.step
        torch.set_default_dtype(torch.float32)
        out = super().forward(data, training)
        torch.set_default_dtype(torch.float64)
        exchange_images(out['inputs'], step)
        return out


def exchange_images(views: Any, step: int) -> None:
    """Exchange the images of views, in the names of the present code."""
    for name, view in views.by_name.items():
        recorded = OLD_NAMES.get(name, name)
        images = stored(step, recorded, tuple(view.images.shape))
        views.by_name[name] = replace(view, images=images)
    views.targets = {name: target.double() for name, target in views.targets.items()}


class EnoughError(Exception):
    """As many steps as wanted are done."""


@HOOKS.register_module()
class Recorder(Hook):
    """Keeps what every step returns; ends the training after ``steps`` of them."""

    priority = 'LOWEST'

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps
        self.rows: list[dict[str, float]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.rows.append({LOGGED.get(k, k): float(v) for k, v in outputs.items()})
        if len(self.rows) == self.steps:
            raise EnoughError


def summary(tensors: list[Tensor]) -> list[float]:
    """Projections of neighboring tensors on fixed directions; every value counts."""
    out = []
    size = -(-len(tensors) // GROUPS)
    for first in range(0, len(tensors), max(1, size)):
        total = 0.0
        for number, tensor in enumerate(tensors[first : first + size]):
            direction = stored(first + number, 'direction', tuple(tensor.shape))
            total += float((tensor.detach().double() * direction).sum())
        out.append(total)
    return out


def state(module: nn.Module) -> list[float]:
    """Summary of all parameters and buffers in their order."""
    return summary([x for x in module.state_dict().values() if x.is_floating_point()])


def run(case: Case, folder: Path, steps: int | None = None, **changes: Any) -> dict[str, Any]:
    """Train a case and return what is recorded of it.

    Args:
        case: the training.
        folder: for logs and checkpoints.
        steps: after how many to stop; None trains to the end.
        changes: of the Runner's arguments.
    """
    if case.processes == 1:
        return run_here(case, str(folder), steps, changes)
    arguments = (case, str(folder), steps, changes)
    results = in_processes(case.processes, folder, run_here, *arguments)
    assert all(each['student'] == results[0]['student'] for each in results)
    return results[0]


def run_here(
    case: Case, folder: str, steps: int | None, changes: dict[str, Any]
) -> dict[str, Any]:
    """Train in this process."""
    warnings.simplefilter('ignore')
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return _run(case, Path(folder), steps, changes)
    finally:
        torch.set_default_dtype(before)


def _run(
    case: Case, folder: Path, steps: int | None, changes: dict[str, Any]
) -> dict[str, Any]:
    runner = build_runner(case, folder, changes)
    recorder = next(hook for hook in runner.hooks if isinstance(hook, Recorder))
    recorder.steps = steps
    with suppress(EnoughError):
        runner.train()
    model = unwrap(runner.model)
    return {
        'losses': recorder.rows,
        'student': summary([p for p in model.parameters() if p.requires_grad]),
        'state': state(model.backbone),
        'expert': state(model.expert),
        'steps': int(getattr(model.expert, 'steps', 0)),
        'objectives': state(model.objectives),
    }


def build_runner(case: Case, folder: Path, changes: dict[str, Any]) -> Runner:
    """The Runner of a case, in the default type of the moment."""
    model = model_config(case, folder)
    model.data_preprocessor.type = 'saip.StoredViews'
    every = dict(by_epoch=case.loop == 'epoch')
    length = STEPS // 4 * BATCH * case.processes
    cosine = dict(type='CosineAnnealingLR', T_max=STEPS, by_epoch=False)
    hooks = hooks_config(case)
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=model,
            work_dir=str(folder / 'work'),
            train_dataloader=dict(
                batch_size=BATCH,
                num_workers=0,
                drop_last=True,
                dataset=dict(type='saip.Canvases', length=length),
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(
                **every,
                **(dict(max_epochs=4) if case.loop == 'epoch' else dict(max_iters=STEPS)),
            ),
            optim_wrapper=optimizer_config(case),
            param_scheduler=[cosine],
            default_hooks=dict(
                runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
                logger=dict(type='LoggerHook', interval=10),
                checkpoint=dict(type='saip.AtomicCheckpointHook', interval=10_000, **every),
                **hooks.get('default_hooks', {}),
            ),
            custom_hooks=[*hooks.get('custom_hooks', []), dict(type='saip.Recorder')],
            visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork')),
            randomness=dict(seed=0),
            log_level='ERROR',
            launcher='none',
            experiment_name=f'recording_{case.name}'.replace(' ', '_').replace(',', ''),
        )
    )
    cfg.merge_from_dict(changes)
    join_processes(cfg, 'pytorch' if case.processes > 1 else 'none')
    return Runner.from_cfg(cfg)


def first_step(case: Case, folder: Path) -> dict[str, list[float]]:
    """Seeded weights, and the gradients of the first step."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        cfg = model_config(case, folder)
        cfg.data_preprocessor.type = 'saip.StoredViews'
        model = MODELS.build(cfg)
        model.init_weights()
        model.train()
        weights = summary([p for p in model.parameters() if p.requires_grad])
        torch.manual_seed(1)
        terms = step_losses(model, batch(BATCH, first=100))
        sum(value for name, value in terms.items() if 'loss' in name).backward()
        grads = [p.grad for p in model.parameters() if p.requires_grad]
        return {'weights': weights, 'gradients': summary(grads)}
    finally:
        torch.set_default_dtype(before)


def step_losses(model: Any, data: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses of the first step, in the names of the present code."""
    model.begin_step(Progress.at(0, STEPS, STEPS // 4))
    return model.loss(**model.data_preprocessor(data, training=True))
