"""Checkpoints that are complete or absent, finite, and that load without running code."""

from __future__ import annotations

import difflib
import inspect
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from saip.checkpoint import CheckpointError, describe_training, parse_config_text
from saip.checkpoint.finite import CONSTANTS_KEY, broken_tensors, infinite_constants
from saip.engine.amp import AutocastOptimWrapper
from saip.engine.atomic_backend import NO_ROOM, PARTIAL_SUFFIX, AtomicBackend
from saip.engine.counted_steps import STEPS_KEY, compare_steps, counted_steps
from saip.engine.hooks.runtime_info import flush_outputs
from saip.engine.kept_checkpoints import RUN_KEY, KeptCheckpoints
from saip.engine.plain_values import restore_buffers, to_plain
from saip.engine.resume import agreed_checkpoint
from saip.engine.stored_optimizer import check_stored_optimizer
from saip.engine.stored_schedules import check_stored, warn_of_early_end
from saip.engine.unwrap import unwrap
from saip.engine.windows import is_window_open
from saip.errors import InputError, StoppedError, UnknownArgumentError
from saip.models.selfsup import Pretrainer
from saip.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, but no crash loses the last good checkpoint.

    Files appear complete under their names or not at all, ``last_checkpoint`` likewise, and an
    old checkpoint is removed only after its successor is on the disk. What a crash left, half
    written or one too many, is removed by the next run. ``last_checkpoint`` names the file from
    the work dir, so that a copied folder continues its own. The files hold tensors and plain
    values only, so that ``torch.load(..., weights_only=True)`` reads them, and the tensors are
    finite. With accumulated gradients a checkpoint waits until the optimizer has stepped: half of
    a gradient cannot be saved. The meta of a pretraining says what it trains, see
    :func:`saip.checkpoint.describe_training`; that of every training what its steps per epoch
    follow from, see :mod:`saip.engine.counted_steps`.

    Args:
        interval: epochs (or iterations, with ``by_epoch=False``) between checkpoints.
        on_full_disk: ``stop``, or ``continue`` to train on to the next checkpoint with an error in
            the log.
        kwargs: further arguments of ``mmengine.hooks.CheckpointHook``: ``by_epoch``,
            ``max_keep_ckpts``, ``save_best``, ``rule`` ...

    Raises:
        UnknownArgumentError: an argument that the parent does not know. The parent takes it in
            silence and fails when the first checkpoint is written.
        StoppedError: weights or optimizer are not finite when a checkpoint is due.
        OSError: the disk is full, unless training is to go on.
    """

    file_backend: Any = None

    def __init__(
        self,
        interval: int = -1,
        on_full_disk: Literal['stop', 'continue'] = 'stop',
        **kwargs: Any,
    ) -> None:
        known = [*inspect.signature(CheckpointHook).parameters, 'on_full_disk']
        for name in kwargs:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f'; did you mean {close[0]!r}?' if close else f'; known: {known}'
                raise UnknownArgumentError(
                    f'AtomicCheckpointHook has no argument {name!r}{hint}'
                )
        if on_full_disk not in ('stop', 'continue'):
            raise InputError(
                f"AtomicCheckpointHook on_full_disk={on_full_disk!r}: choose 'stop' or 'continue'"
            )
        if kwargs.get('file_client_args') is None and kwargs.get('backend_args') is None:
            kwargs['backend_args'] = dict(backend='saip.atomic')
        super().__init__(interval, **kwargs)
        self._continues = on_full_disk == 'continue'
        self._waiting: int | None = None
        self._kept: KeptCheckpoints | None = None
        self._constants: list[str] = []

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint of a run that is to resume what its work dir holds.

        The tools of this project have chosen before; those of the libraries leave it to mmengine,
        which would look for the name in ``last_checkpoint`` from the present folder.
        """
        if runner._resume and runner._load_from is None:
            found = agreed_checkpoint(Path(runner.work_dir))
            runner._load_from = None if found is None else str(found[0])
            runner._resume = found is not None

    def before_train(self, runner: Runner) -> None:
        """Find the folder, and what of this run lies there."""
        super().before_train(runner)
        self._waiting = None
        self._constants = infinite_constants(unwrap(runner.model))
        hub = runner.message_hub
        earlier = hub.runtime_info.pop('keep_ckpt_ids', [])  # files from before runs had names
        if RUN_KEY not in hub.runtime_info:
            hub.update_info(RUN_KEY, uuid.uuid4().hex)
        self._move_best(runner)
        if is_main_process():
            folder = Path(self.out_dir)
            names = [self.filename_tmpl.format(number) for number in earlier]
            self._kept = KeptCheckpoints(folder, hub.get_info(RUN_KEY), names)
            for partial in folder.glob(f'*.pth{PARTIAL_SUFFIX}'):
                partial.unlink()
                runner.logger.warning(f'removed {partial}, a checkpoint never finished')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write a checkpoint that is due, or one that has waited for the optimizer's step."""
        if self._waiting is not None and not is_window_open(runner):
            number = self._waiting if self.by_epoch else runner.iter + 1
            self._save_checkpoint_with_step(runner, number, _of_this_step(runner))
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def save_between(self, runner: Runner, validating: bool = False) -> str:
        """Write a checkpoint of this very iteration, whatever the interval; return its path.

        Args:
            runner: the runner, whose accumulated gradients have been used.
            validating: called in a validation, not after a training iteration.

        Raises:
            StoppedError: weights or optimizer are not finite.
            OSError: the disk is full, whatever is to be done in a run that goes on.
        """
        meta = _of_this_step(runner)
        if validating:
            meta['iter'] -= 1
        flush_outputs(runner)
        self._write(runner, f'iter_{meta["iter"]}.pth', meta)
        return str(self.last_ckpt)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add what a run says of itself; leave nothing but finite tensors and plain values.

        Raises:
            StoppedError: a weight, a buffer or a state of the optimizer is not finite.
        """
        meta = checkpoint['meta']
        model = unwrap(runner.model)
        if isinstance(model, Pretrainer):
            meta.update(describe_training(runner.cfg, model.backbone))
        steps = counted_steps(runner)
        if steps is not None:
            meta[STEPS_KEY] = steps
        meta[RUN_KEY] = runner.message_hub.get_info(RUN_KEY)
        if self._constants:
            meta[CONSTANTS_KEY] = self._constants
        broken = broken_tensors(checkpoint)
        if broken:
            raise StoppedError(self._poisoned(runner, broken, meta.get('iter', runner.iter)))
        for key in checkpoint:
            if key not in ('state_dict', 'optimizer'):
                checkpoint[key] = to_plain(checkpoint[key])

    def _poisoned(self, runner: Runner, broken: list[str], iteration: int) -> str:
        """Why training stops, and what can be done about it."""
        more = f' and {len(broken) - 3} more' if len(broken) > 3 else ''
        good = self.last_ckpt or (runner._load_from if runner._resume else None)
        guarded = isinstance(runner.optim_wrapper, AutocastOptimWrapper)
        advice = 'a lower learning rate or gradient clipping'
        if not guarded:
            advice += (
                ', or optim_wrapper.type=saip.AutocastOptimWrapper, which skips such steps'
            )
        again = f'resume from the last good checkpoint, {good},' if good else 'begin anew'
        return (
            f'{", ".join(broken[:3])}{more} not finite after iteration {iteration}: training '
            f'stops, and no checkpoint of this state is written; {again} with {advice}'
        )

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
        restore_buffers(checkpoint)

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, Any]
    ) -> None:
        """Write a checkpoint now, or as soon as the optimizer steps."""
        if is_window_open(runner):
            self._waiting = step
            return
        self._waiting = None
        flush_outputs(runner)
        try:
            self._write(runner, self.filename_tmpl.format(step), meta)
        except OSError as error:
            self._go_on(runner, error)

    def _write(self, runner: Runner, name: str, meta: dict[str, Any]) -> None:
        """Write a checkpoint, remove outdated ones, point ``last_checkpoint`` to it."""
        path = self.file_backend.join_path(self.out_dir, name)
        with self._removing_afterwards(), _undone(runner, self):
            runner.message_hub.update_info('last_ckpt', path)
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )
            self.last_ckpt = path
        if self._kept is None:
            return
        for outdated in self._kept.add(name, self.max_keep_ckpts):
            self.file_backend.remove(self.file_backend.join_path(self.out_dir, outdated))
        AtomicBackend().put_text(
            _from_folder(path, runner.work_dir), Path(runner.work_dir, 'last_checkpoint')
        )

    def _go_on(self, runner: Runner, error: OSError) -> None:
        """Go on without a checkpoint, where the disk is full and that is what to do then."""
        if not self._continues or error.errno not in NO_ROOM:
            raise error
        runner.logger.error(f'{error}: training goes on to the next checkpoint')

    def _move_best(self, runner: Runner) -> None:
        """Take the best checkpoints of a copied folder for those in the copy."""
        if not self.save_best:
            return
        moved = {
            key: self.file_backend.join_path(self.out_dir, Path(path).name)
            for key, path in runner.message_hub.runtime_info.items()
            if key.startswith('best_ckpt') and path
        }
        for key, path in moved.items():
            runner.message_hub.update_info(key, path)
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = moved.get('best_ckpt')
        else:
            self.best_ckpt_path_dict = {
                key: moved.get(f'best_ckpt_{key}') for key in self.key_indicators
            }

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if self.file_backend is None:  # a validation by itself, which has nothing to save
            return
        try:
            with self._removing_afterwards(), _undone(runner, self):
                super()._save_best_checkpoint(runner, metrics)
        except OSError as error:
            self._go_on(runner, error)

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


@contextmanager
def _undone(runner: Runner, hook: AtomicCheckpointHook) -> Iterator[None]:
    """Take back what a hook and the log say of a file that could not be written."""
    hub = runner.message_hub
    said = {key: value for key, value in hub.runtime_info.items() if _is_of_files(key)}
    own = {key: copy(value) for key, value in vars(hook).items() if key.startswith('best_ckpt')}
    try:
        yield
    except OSError:
        for key in [key for key in hub.runtime_info if _is_of_files(key)]:
            hub.pop_info(key)
        hub.runtime_info.update(said)
        for name, value in own.items():
            setattr(hook, name, value)
        raise


def _is_of_files(key: str) -> bool:
    return key.startswith(('best_score', 'best_ckpt', 'last_ckpt'))


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


def _of_this_step(runner: Runner) -> dict[str, Any]:
    """Epochs that are over and iterations that are done, after a training iteration."""
    return dict(epoch=runner.epoch, iter=runner.iter + 1)


def _from_folder(path: str, folder: str) -> str:
    """A path as seen from a folder; an address of another kind of storage as it is."""
    return path if '://' in path else os.path.relpath(path, folder)
