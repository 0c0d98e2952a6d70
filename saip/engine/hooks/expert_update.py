"""Hooks that tell a pretraining model where in the run it is."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.schedules import cosine
from saip.engine.unwrap import unwrap
from saip.registry import HOOKS


@HOOKS.register_module()
class ViewClockHook(Hook):
    """Tells the views their epoch and step, from which their random numbers follow.

    torch's generators, which only stochastic depth uses, are seeded by step and process as well, so
    that a resumed run draws what the whole run would have drawn.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the clock."""
        from saip.structures import Progress

        n = len(runner.train_dataloader)
        unwrap(runner.model).begin_step(Progress(runner.iter, runner.max_iters, 0, 1, n, 0.0))
        torch.manual_seed(hash((runner.seed, runner.iter, get_rank())) % 2**63)


@HOOKS.register_module()
class ExpertUpdateHook(Hook):
    """Moves the expert after each optimizer step, with a momentum that grows along a cosine.

    Args:
        momentum: (first, last) weight of the old expert.
        schedule: ``run``: once per optimizer step, the cosine spans the whole run;
            ``epoch``: once per micro-batch, indexed by the position inside the epoch on a cosine
            that spans the run, so the momentum hardly leaves its first value, as in the method's
            first release.
    """

    # Before checkpoints are written, after gradients were used.
    priority = 'NORMAL'

    def __init__(
        self,
        momentum: tuple[float, float] = (0.996, 1.0),
        schedule: Literal['run', 'epoch'] = 'run',
    ) -> None:
        if schedule not in ('run', 'epoch'):
            raise ValueError(f"ExpertUpdateHook schedule={schedule!r}: choose 'run' or 'epoch'")
        self.momentum = momentum
        self.schedule = schedule
        self._steps = 0
        self._total = 1

    def before_train(self, runner: Runner) -> None:
        """Learn how long the run is and watch the optimizer.

        The optimizer's own step is watched because only it knows of accumulation and of steps
        that a gradient scaler skips.
        """
        if self.schedule == 'epoch':
            self._total = runner.max_iters
            return
        accumulated = runner.optim_wrapper._accumulative_counts
        self._total = math.ceil(runner.max_iters / accumulated)
        # Not from the expert's own count, which load_from brings along from another run.
        self._steps = runner.iter // accumulated
        runner.optim_wrapper.optimizer.register_step_post_hook(
            lambda *_: self._after_optimizer_step(runner)
        )

    def _after_optimizer_step(self, runner: Runner) -> None:
        self._move(runner, self._steps)
        self._steps += 1

    def _move(self, runner: Runner, step: int) -> None:
        momentum = cosine(step, self._total, *self.momentum)
        unwrap(runner.model).update_expert(momentum)
        runner.message_hub.update_scalar('train/momentum', momentum)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the expert after every micro-batch if the schedule says so."""
        if self.schedule == 'epoch':
            self._move(runner, batch_idx)


@HOOKS.register_module()
class FreezePrototypesHook(Hook):
    """Keeps the prototypes at their initial values for the first epochs, as DINO does.

    Their gradient is dropped before the optimizer's step rather than switched off, because
    distributed training fixes at its start which parameters have gradients.

    Args:
        epochs: number of epochs.
    """

    def __init__(self, epochs: int = 1) -> None:
        self.epochs = epochs

    def before_train(self, runner: Runner) -> None:
        """Watch the optimizer.

        Raises:
            ValueError: ``csm`` has a projector without prototypes.
        """
        objectives = unwrap(runner.model).objectives
        if 'csm' not in objectives:
            return
        csm = objectives['csm']
        own = dict(csm.neck.named_parameters(recurse=False))
        if 'prototypes' not in own:
            raise ValueError(
                f'FreezePrototypesHook: {type(csm).__name__} (model.objectives.csm) has no '
                'prototypes to freeze; take the hook out of custom_hooks, as '
                'configs/pretrain/_base_/methods/saip-star.py does'
            )
        prototypes = own['prototypes']

        def drop_gradient(*_: Any) -> None:
            if runner.epoch < self.epochs:
                prototypes.grad = None

        runner.optim_wrapper.optimizer.register_step_pre_hook(drop_gradient)
