"""Checkpoints that are complete or absent, and that load without running code."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend, LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from saip.checkpoint import CheckpointError, describe_training, parse_config_text
from saip.engine.counted_steps import STEPS_KEY, compare_steps, counted_steps
from saip.engine.stored_optimizer import check_stored_optimizer
from saip.engine.stored_schedules import check_stored, warn_of_early_end
from saip.engine.unwrap import unwrap
from saip.errors import UnknownArgumentError
from saip.models.selfsup import Pretrainer
from saip.registry import HOOKS

PARTIAL_SUFFIX = '.partial'
BUFFER_KEY = 'history_buffer'


@register_backend('saip.atomic')
class AtomicBackend(LocalBackend):
    """Local files of which a reader sees the old content or the new, never a part."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file: beside its place, to the disk, then in one move to its place.

        Raises:
            OSError: the file cannot be written (no room on the disk); the old one is untouched.
        """
        target = Path(filepath)
        partial = target.with_name(target.name + PARTIAL_SUFFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            reason = f'{error.strerror}; earlier checkpoints are intact'
            raise OSError(error.errno, reason, str(target)) from error
        _sync_folder(target.parent)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write a text file in the same way."""
        self.put(obj.encode(encoding), filepath)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, but no crash loses the last good checkpoint.

    Files appear complete under their names or not at all, ``last_checkpoint`` likewise, and an
    old checkpoint is removed only after its successor is on the disk. What a crash left
    half-written is removed when the next run begins. The files hold tensors and plain values
    only, so that ``torch.load(..., weights_only=True)`` reads them. The meta of a pretraining
    says what it trains, see :func:`saip.checkpoint.describe_training`; that of every training what
    its steps per epoch follow from, see :mod:`saip.engine.counted_steps`.

    Args:
        interval: epochs (or iterations, with ``by_epoch=False``) between checkpoints.
        kwargs: further arguments of ``mmengine.hooks.CheckpointHook``: ``by_epoch``,
            ``max_keep_ckpts``, ``save_best``, ``rule`` ...

    Raises:
        UnknownArgumentError: an argument that the parent does not know. The parent takes it in
            silence and fails when the first checkpoint is written.
    """

    file_backend: Any = None

    def __init__(self, interval: int = -1, **kwargs: Any) -> None:
        known = list(inspect.signature(CheckpointHook).parameters)
        for name in kwargs:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f'; did you mean {close[0]!r}?' if close else f'; known: {known}'
                raise UnknownArgumentError(
                    f'AtomicCheckpointHook has no argument {name!r}{hint}'
                )
        if kwargs.get('file_client_args') is None and kwargs.get('backend_args') is None:
            kwargs['backend_args'] = dict(backend='saip.atomic')
        super().__init__(interval, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Find the folder and remove what a crash left there."""
        super().before_train(runner)
        if is_main_process() and Path(self.out_dir).is_dir():
            for partial in Path(self.out_dir).glob(f'*.pth{PARTIAL_SUFFIX}'):
                partial.unlink()
                runner.logger.warning(f'removed {partial}, a checkpoint never finished')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add what a pretraining says of itself; leave nothing but tensors and plain values."""
        model = unwrap(runner.model)
        if isinstance(model, Pretrainer):
            checkpoint['meta'].update(describe_training(runner.cfg, model.backbone))
        steps = counted_steps(runner)
        if steps is not None:
            checkpoint['meta'][STEPS_KEY] = steps
        for key in checkpoint:
            if key not in ('state_dict', 'optimizer'):
                checkpoint[key] = _to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Turn the plain values of a message hub back into what mmengine expects.

        A resumed run is told of what differs from the training of its checkpoint: schedule and
        optimizer, of which the stored ones count, and the steps of an epoch.

        Raises:
            InputError: the stored schedules or optimizer do not fit the configuration's, or no
                step of the schedules would be left.
        """
        if runner.cfg.get('resume'):
            check_stored(runner, checkpoint)
            check_stored_optimizer(runner, checkpoint)
            if _has_another_schedule(checkpoint, runner.cfg):
                runner.logger.warning(
                    'the checkpoint was trained with another param_scheduler (or SAIP_SCHEDULE) '
                    'than this configuration has, which is ignored: the schedule in the checkpoint '
                    'is used. For the new one begin a new run'
                )
            if not compare_steps(runner, checkpoint):
                warn_of_early_end(runner, checkpoint)
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, value in scalars.items():
            if isinstance(value, dict) and BUFFER_KEY in value:
                log, counts = value[BUFFER_KEY].tolist()
                scalars[name] = HistoryBuffer(log, counts, value['max_length'])

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, Any]
    ) -> None:
        """Write a checkpoint and point ``last_checkpoint`` to it, then remove outdated ones."""
        with self._removing_afterwards():
            outdated = self._keep(runner, step)
            self.last_ckpt = self.file_backend.join_path(
                self.out_dir, self.filename_tmpl.format(step)
            )
            runner.message_hub.update_info('last_ckpt', self.last_ckpt)
            runner.save_checkpoint(
                self.out_dir,
                self.filename_tmpl.format(step),
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )
            if not is_main_process():
                return
            AtomicBackend().put_text(self.last_ckpt, Path(runner.work_dir, 'last_checkpoint'))
            for number in outdated:
                name = self.filename_tmpl.format(number)
                self.file_backend.remove(self.file_backend.join_path(self.out_dir, name))

    def _keep(self, runner: Runner, step: int) -> list[int]:
        """Note a new checkpoint; return the numbers of those that are too many with it."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        kept = [*self.keep_ckpt_ids, step]
        outdated = kept[: -self.max_keep_ckpts]
        self.keep_ckpt_ids.extend([step])
        runner.message_hub.update_info('keep_ckpt_ids', kept[-self.max_keep_ckpts :])
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if self.file_backend is None:  # a validation by itself, which has nothing to save
            return
        with self._removing_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """Put removals off until the block has ended well."""
        if isinstance(self.file_backend, _Removals):
            yield
            return
        backend = self.file_backend
        self.file_backend = removals = _Removals(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        current = {self.last_ckpt, *self._best_paths()}
        for path in removals.paths:
            if path not in current and backend.isfile(path):
                backend.remove(path)

    def _best_paths(self) -> list[str | None]:
        if not self.save_best:
            return []
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return list(self.best_ckpt_path_dict.values())


class _Removals:
    """A storage backend that notes removals instead of doing them."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self.paths: list[str] = []
        self.join_path = backend.join_path
        self.isfile = backend.isfile
        self.isdir = backend.isdir

    def remove(self, path: str) -> None:
        self.paths.append(path)


def _has_another_schedule(checkpoint: dict[str, Any], cfg: Config) -> bool:
    stored = checkpoint.get('meta', {}).get('cfg')
    if not isinstance(stored, str):
        return False
    try:
        then, now = (parse_config_text(text) for text in (stored, cfg.pretty_text))
    except CheckpointError:  # a configuration with more than plain values
        return False
    return then.get('param_scheduler') != now.get('param_scheduler')


def _to_plain(value: Any) -> Any:
    """Replace log buffers and numpy values by tensors and Python's own types.

    Raises:
        TypeError: a value of another kind, which could not be read back safely.
    """
    if isinstance(value, HistoryBuffer):
        rows = torch.tensor(np.stack(value.data), dtype=torch.float64)
        return {BUFFER_KEY: rows, 'max_length': value.max_length}
    if isinstance(value, dict):
        return {_to_plain(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        items = [_to_plain(item) for item in value]
        return items if isinstance(value, list) else type(value)(items)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.Tensor):
        return value
    kind = type(value).__name__
    raise TypeError(f'a checkpoint cannot hold a {kind} ({value!r:.80}): unsafe to load')


def _sync_folder(folder: Path) -> None:
    """Make a move inside a folder last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
