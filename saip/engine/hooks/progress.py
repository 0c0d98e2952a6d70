"""Tell a pretraining model where in the run it is."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.checkpoint.renamed import drop_unread_twins, translate_checkpoint
from saip.engine.amp import AutocastOptimWrapper
from saip.engine.stepped import Stepped
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS
from saip.structures import Progress


@HOOKS.register_module()
class ProgressHook(Hook):
    """Hand the progress of the run to the model before every training iteration.

    From it follow the random numbers of the views, the momentum of the expert, temperatures and
    freezing. It belongs to ``default_hooks``; without it a pretraining stops at its first draw of
    views. torch's generators, which only stochastic depth and the noise of a discrete VAE use, are
    seeded by step and process as well, so that a resumed run draws what the whole run would have
    drawn. Models that keep no such state (fine-tuning) are left alone.

    Raises:
        InputError: the optimizer wrapper is not ``saip.AutocastOptimWrapper``, which alone tells
            the model of its steps and leaves out those that are not finite.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Give the weights and the log of an earlier version today's names.

        Here and not in a checkpoint hook, which a configuration may exchange: mmengine would leave
        weights of another name at their initial values.
        """
        if isinstance(unwrap(runner.model), Stepped):
            translate_checkpoint(checkpoint)
            own = unwrap(runner.model).state_dict().keys()
            drop_unread_twins(checkpoint['state_dict'], own)

    def before_train(self, runner: Runner) -> None:
        """Connect the optimizer wrapper with the model."""
        model = unwrap(runner.model)
        if not isinstance(model, Stepped):
            return
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, AutocastOptimWrapper):
            raise InputError(
                f'{type(wrapper).__name__} does not tell the model of its steps, so the expert '
                'would never move; set the argument optim_wrapper.type=saip.AutocastOptimWrapper '
                "(with dtype='float32' where nothing is to be computed in bfloat16)"
            )
        wrapper.connect(model)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begin the step."""
        model = unwrap(runner.model)
        if not isinstance(model, Stepped):
            return
        # Not runner.epoch, which stays 0 in trainings that count iterations.
        accumulated = runner.optim_wrapper._accumulative_counts
        per_epoch = len(runner.train_dataloader)
        model.begin_step(Progress.at(runner.iter, runner.max_iters, per_epoch, accumulated))
        torch.manual_seed(hash((runner.seed, runner.iter, get_rank())) % 2**63)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log what schedules move: numbers of the host, nothing is read from a device."""
        model = unwrap(runner.model)
        if isinstance(model, Stepped):
            for name, value in model.scheduled().items():
                runner.message_hub.update_scalar(f'train/{name}', value)
