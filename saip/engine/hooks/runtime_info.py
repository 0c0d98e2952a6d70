"""Log every loss of every iteration without waiting for the device at every iteration."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, LoggerHook, RuntimeInfoHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from saip.engine.amp import AutocastOptimWrapper
from saip.registry import HOOKS

KEPT_VALUES = 10_000
"""Values kept per logged name. mmengine keeps a million and copies them all at every update."""


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite, so that training on would only destroy the weights."""


@HOOKS.register_module()
class AsyncRuntimeInfoHook(RuntimeInfoHook):
    """Write the model's outputs into the message hub in bundles.

    mmengine reads every output at every iteration, and each reading waits until the device has
    caught up. Here the tensors stay where they are until somebody is about to use the numbers:
    the logger, a checkpoint, the validation, the end of an epoch. Then they are averaged over
    all processes (one reduction) and read together (one copy).

    Raises:
        NonFiniteLossError: a reduced loss is not finite. It is raised before a checkpoint is
            written, on all processes alike.
    """

    def __init__(self) -> None:
        self._names: list[tuple[int, list[str]]] = []
        self._values: list[torch.Tensor] = []

    def before_train(self, runner: Runner) -> None:
        """Forget what an earlier run left."""
        super().before_train(runner)
        self._names.clear()
        self._values.clear()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Keep the outputs (scalar tensors or numbers); write them down where they are due."""
        outputs = dict(outputs or {})
        if isinstance(runner.optim_wrapper, AutocastOptimWrapper):
            norm = runner.optim_wrapper.pop_gradient_norm()
            outputs |= {} if norm is None else {runner.optim_wrapper.grad_name: norm}
        if outputs:
            self._names.append((runner.iter, list(outputs)))
            self._values.append(stack_scalars(outputs))
        if self._due(runner, batch_idx):
            self.flush(runner.message_hub)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write down what is left, before a checkpoint of the epoch is written."""
        super().after_train_epoch(runner)
        self.flush(runner.message_hub)

    def before_val(self, runner: Runner) -> None:
        """Write down what is left, before the best checkpoint may be written."""
        super().before_val(runner)
        self.flush(runner.message_hub)

    def flush(self, hub: MessageHub) -> None:
        """Reduce, read and write down everything kept since the last call.

        Raises:
            NonFiniteLossError: a value whose name contains ``loss`` is not finite.
        """
        if not self._values:
            return
        stacked = torch.cat(self._values)
        all_reduce(stacked, op='mean')
        values = iter(stacked.tolist())
        names, self._names, self._values = self._names, [], []
        for iteration, row in names:
            read = {name: next(values) for name in row}
            _check_losses(read, iteration)
            for name, value in read.items():
                hub.update_scalar(f'train/{name}', value)
        for buffer in hub.log_scalars.values():
            buffer.max_length = KEPT_VALUES

    def _due(self, runner: Runner, batch_idx: int) -> bool:
        if self.end_of_epoch(runner.train_dataloader, batch_idx) or self.is_last_train_iter(
            runner
        ):
            return True
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook) and self.every_n_inner_iters(
                batch_idx, hook.interval
            ):
                return True
            if (
                isinstance(hook, CheckpointHook)
                and not hook.by_epoch
                and self.every_n_train_iters(runner, hook.interval, hook.save_begin)
            ):
                return True
        return False


def stack_scalars(outputs: dict[str, Any]) -> torch.Tensor:
    """Stack scalars into one float64 vector on the device of the tensors among them."""
    tensors = [value for value in outputs.values() if isinstance(value, torch.Tensor)]
    device = tensors[0].device if tensors else torch.device('cpu')
    scalars = [
        value.detach().to(device, torch.float64).reshape(())
        if isinstance(value, torch.Tensor)
        else torch.full((), float(value), dtype=torch.float64, device=device)
        for value in outputs.values()
    ]
    return torch.stack(scalars)


def _check_losses(values: dict[str, float], iteration: int) -> None:
    """Raise for the terms that are not finite; for their sum only where no term is to blame."""
    bad = [name for name in values if 'loss' in name and not math.isfinite(values[name])]
    terms = [name for name in bad if name != 'loss'] or bad
    if terms:
        raise NonFiniteLossError(
            f'{", ".join(terms)} not finite ({values[terms[0]]}) at iteration {iteration + 1}: '
            'training stops, and no checkpoint was written since. Resume from the last one '
            'with a lower learning rate or with gradient clipping'
        )
