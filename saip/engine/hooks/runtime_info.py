"""Log every loss of every iteration without waiting for the device at every iteration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner

from saip.engine.amp import AutocastOptimWrapper
from saip.engine.hooks.skipped_steps import MicroBatch, NonFiniteLossError, SkippedSteps
from saip.engine.sample_names import Ids, sample_ids
from saip.registry import HOOKS

KEPT_VALUES = 10_000
"""Values kept per logged name. mmengine keeps a million and copies them all at every update."""

_FLAG = 'skipped'


@dataclass(frozen=True)
class _Row:
    """What was kept of an iteration beside its values.

    Attributes:
        iteration: micro-batches before it.
        names: of its values, in their order.
        stepped: whether an optimizer step was due; then the last value says if it was skipped.
        guarded: whether the optimizer wrapper skips steps that are not finite.
        ids: its samples.
    """

    iteration: int
    names: list[str]
    stepped: bool
    guarded: bool
    ids: Ids


@HOOKS.register_module()
class AsyncRuntimeInfoHook(RuntimeInfoHook):
    """Write the model's outputs into the message hub in bundles.

    mmengine reads every output at every iteration, and each reading waits until the device has
    caught up. Here the tensors stay where they are until the numbers are used:
    the logger, a checkpoint, the validation, the end of an epoch. Then they are averaged over
    all processes (one reduction) and read together (one copy). Values that are not finite stay
    out of the log's means; the steps that ``saip.AutocastOptimWrapper`` skipped for them are
    named instead, counted as ``skipped_steps``, and listed in ``WORK_DIR/skipped_steps.jsonl``.

    Raises:
        NonFiniteLossError: three optimizer steps in a row were skipped, or a loss is not finite
            and the optimizer wrapper skips no step. It is raised before a checkpoint is written,
            on all processes alike.
    """

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._values: list[torch.Tensor] = []
        self._skipped = SkippedSteps()

    def before_train(self, runner: Runner) -> None:
        """Forget what an earlier run left."""
        super().before_train(runner)
        self._rows.clear()
        self._values.clear()
        self._skipped = SkippedSteps()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Keep the outputs (scalar tensors or numbers); write them down where they are due."""
        values = dict(outputs or {})
        wrapper = runner.optim_wrapper
        guarded = isinstance(wrapper, AutocastOptimWrapper)
        skipped = None
        if guarded:
            norm, skipped = wrapper.pop_gradient_norm(), wrapper.pop_skipped()
            values |= {} if norm is None else {wrapper.grad_name: norm}
        names = list(values)
        if skipped is not None:
            values[_FLAG] = skipped
        if values:
            ids = sample_ids(data_batch) if guarded else []
            self._rows.append(_Row(runner.iter, names, skipped is not None, guarded, ids))
            self._values.append(stack_scalars(values))
        if self._due(runner, batch_idx):
            self.flush(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write down what is left, before a checkpoint of the epoch is written."""
        super().after_train_epoch(runner)
        self.flush(runner)

    def before_val(self, runner: Runner) -> None:
        """Write down what is left, before the best checkpoint may be written."""
        super().before_val(runner)
        self.flush(runner)

    def flush(self, runner: Runner) -> None:
        """Reduce, read and write down everything kept since the last call.

        Raises:
            NonFiniteLossError: see the class.
        """
        if not self._values:
            return
        hub = runner.message_hub
        own = torch.cat(self._values)
        reduced = own.clone()
        all_reduce(reduced, op='mean')
        both = iter(torch.stack([own, reduced], 1).tolist())
        rows, self._rows, self._values = self._rows, [], []
        for row in rows:
            read = {name: next(both) for name in row.names}
            skipped = bool(next(both)[1]) if row.stepped else False
            for name, (_, value) in read.items():
                if math.isfinite(value):
                    hub.update_scalar(f'train/{name}', value)
            means = {name: pair[1] for name, pair in read.items()}
            terms = _bad_losses(means)
            if terms and not row.guarded:
                # Their sum only where no term is to blame.
                _stop_for([name for name in terms if name != 'loss'] or terms, means, row)
            if not row.guarded:
                continue
            own_loss = bool(_bad_losses({name: pair[0] for name, pair in read.items()}))
            self._skipped.add(MicroBatch(row.iteration + 1, tuple(terms), own_loss, row.ids))
            if row.stepped:
                self._skipped.close(skipped)
        self._skipped.report(runner)
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


def flush_outputs(runner: Runner) -> None:
    """Let the hook of a run write down what it has kept, in all processes together.

    Raises:
        NonFiniteLossError: see :class:`AsyncRuntimeInfoHook`.
    """
    for hook in runner.hooks:
        if isinstance(hook, AsyncRuntimeInfoHook):
            hook.flush(runner)


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


def _bad_losses(values: dict[str, float]) -> list[str]:
    """Names of losses that are not finite."""
    return [name for name in values if 'loss' in name and not math.isfinite(values[name])]


def _stop_for(terms: list[str], values: dict[str, float], row: _Row) -> None:
    """Raise for losses that are not finite and have destroyed the weights."""
    raise NonFiniteLossError(
        f'{", ".join(terms)} not finite ({values[terms[0]]}) at iteration {row.iteration + 1}: '
        'training stops, and no checkpoint was written since. Resume from the last one with a '
        'lower learning rate or with gradient clipping; '
        'optim_wrapper.type=saip.AutocastOptimWrapper skips such steps'
    )
