"""Start a training or a test from a configuration: what the tools have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import EpochBasedTrainLoop, Runner

from saip.checkpoint import load_checkpoint_file
from saip.engine.disk_budget import warn_of_room
from saip.engine.explain import explain_step
from saip.engine.full_disk import keep_training, named_full_disk
from saip.engine.held_back import check_held_back
from saip.engine.hooks import PreemptionHook
from saip.engine.hooks.records import RecordHook
from saip.engine.hooks.runtime_info import flush_outputs
from saip.engine.log_names import escape_names
from saip.engine.preflight import (
    check_config,
    check_evaluated_files,
    check_options,
    check_parts,
    check_renamed,
    explain_missing_base,
)
from saip.engine.processes import join_processes, leave_processes
from saip.engine.resume import Shapes, agreed_checkpoint, shapes_of
from saip.engine.runner_checks import check_runner, compare_model
from saip.engine.show import draw_predictions
from saip.engine.start_checks import (
    adapt_loaders,
    check_keypoints,
    check_plateau,
    refuse_used_folder,
)
from saip.engine.used_variables import check_used_by_options
from saip.engine.variables import pasted_as_text
from saip.engine.worker_errors import WorkerErrorsHook
from saip.errors import REFUSALS, StartError, StoppedError, is_bug, number_of, one_line

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def train(
    config: str,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    validate: bool = True,
    auto_scale_lr: bool = False,
    options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    hooks: Sequence[Hook] = (),
) -> None:
    """Train what a configuration describes.

    Args:
        config: path of the configuration.
        work_dir: folder for logs and checkpoints; by default ``work_dirs/<name of config>``.
        resume: a checkpoint, or ``auto`` for the newest valid one in the folder.
        amp: compute in bfloat16.
        validate: run the configuration's validation.
        auto_scale_lr: scale the learning rate with the batch size.
        options: values that replace some of the configuration, by dotted keys.
        launcher: who started the processes, one of ``LAUNCHERS``.
        hooks: registered beside those of the configuration.

    Raises:
        ConfigKeyError: the configuration or the options name a key that does not exist.
        ConflictError: data set and evaluator of the validation have different annotations.
        PreemptedError: a signal has asked the run to stop, and it has saved. SIGTERM, SIGUSR1 and
            SIGINT are without effect from then on: the process is expected to end.
        StartError: the run could not start.
        StoppedError: the run began, and cannot go on.
    """
    cfg = prepare_run(config, work_dir, amp, validate, auto_scale_lr, options)
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    if resume != 'auto':
        refuse_used_folder(cfg.work_dir, resume)
    join_processes(cfg, launcher)
    shapes = None if resume is None else prepare_resume(cfg, resume)
    progress, preemption = Progress(), PreemptionHook()
    where = named_full_disk(cfg.work_dir)
    with where, explained(progress, cfg, 'train_dataloader'), preemption:
        runner = build_runner(cfg)
        for hook in (progress, preemption, *hooks):
            runner.register_hook(hook)
        check_runner(runner, cfg, shapes)
        warn_of_room(runner)
        with _flushed(runner):
            runner.train()
    if not progress.started:
        _tell(f'{cfg.load_from}: {_whole(runner)} done; nothing was trained')
    leave_processes()


@contextmanager
def _flushed(runner: Runner) -> Iterator[None]:
    """Let a run that ends with an error write down the steps that it has skipped.

    One of several processes cannot do so alone: the others may be anywhere.
    """
    try:
        yield
    except Exception:
        if get_world_size() == 1:
            with suppress(StoppedError, OSError):  # the first error is the one to tell
                flush_outputs(runner)
        raise


def prepare_run(
    config: str,
    work_dir: str | None = None,
    amp: bool = False,
    validate: bool = True,
    auto_scale_lr: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """Read the configuration of a training and check what it says; arguments as of :func:`train`.

    Raises:
        ConfigKeyError: the configuration or the options name a key that does not exist.
        ConflictError: data set and evaluator of the validation have different annotations.
        StartError: the run could not start.
    """
    cfg = read_config(config, options, work_dir)
    if not validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    check_evaluated_files(cfg, 'val')
    if amp:
        use_bfloat16(cfg)
    if auto_scale_lr:
        if not cfg.get('auto_scale_lr'):
            raise StartError(f'--auto-scale-lr: {config} has no auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
        # mmengine counts a micro-batch as the batch.
        accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
        cfg.auto_scale_lr.base_batch_size /= accumulated
    if cfg.get('load_from') == '':
        raise StartError('load_from is empty: name a file, or leave it out')
    check_plateau(cfg)
    check_keypoints(cfg)
    check_held_back(cfg, 'val_dataloader', ', or train with --no-validate')
    return cfg


def evaluate(
    config: str,
    checkpoint: str,
    work_dir: str | None = None,
    options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    show_dir: str | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint with the test loop of a configuration.

    Without a ``work_dir`` logs go to the folder ``test`` in the training's, whose record of its
    configuration stays as it is. With ``show_dir`` images of what is predicted are written to
    that folder.

    Returns:
        The metrics.

    Raises:
        CheckpointError: the file cannot be read.
        ConfigKeyError: the configuration or the options name a key that does not exist.
        ConflictError: data set and evaluator have different annotations.
        StartError: the test could not start, or the weights are not those of the model.
    """
    cfg = read_config(config, options, work_dir)
    if not cfg.get('test_dataloader'):
        raise StartError(f'{config} has no test_dataloader, so there is nothing to test')
    check_evaluated_files(cfg, 'test')
    check_held_back(cfg, 'test_dataloader', '')
    if work_dir is None:
        cfg.work_dir = str(Path(cfg.work_dir, 'test'))
    shapes = shapes_of(load_checkpoint_file(checkpoint))
    cfg.load_from, cfg.resume = checkpoint, False
    drop_pretrained(cfg.model)
    if show_dir is not None and not draw_predictions(cfg, show_dir):
        raise StartError(f'--show-dir: {config} has nothing that draws predictions')
    join_processes(cfg, launcher)
    with named_full_disk(cfg.work_dir), explained(Progress(), cfg, 'test_dataloader'):
        runner = build_runner(cfg)
        compare_model(runner, cfg, shapes, checkpoint, testing=True)
        metrics = runner.test()
    leave_processes()
    return metrics


def read_config(
    path: str, options: Mapping[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Read a configuration, check its keys, merge the options, adapt loaders without workers.

    Raises:
        ConfigKeyError: a key that does not exist.
        StartError: the file does not exist or is not a configuration.
    """
    if not Path(path).is_file():
        raise StartError(f'{path}: no such configuration file')
    try:
        with pasted_as_text():
            cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        raise StartError(f'{path}: {explain_missing_base(error)}') from error
    except (
        AttributeError,  # a base lacks a key that another reads
        KeyError,
        ModuleNotFoundError,  # a base of a library that is not installed
        NameError,
        OSError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        if is_bug(error):
            raise
        raise StartError(f'{path}: {one_line(error)}') from error
    if 'SAIP_BACKBONE' in os.environ and '$SAIP_BACKBONE' not in cfg.text:
        print(
            f'warning: {path} has an encoder of its own and does not read '
            f'SAIP_BACKBONE={os.environ["SAIP_BACKBONE"]}; configs named any-backbone do',
            file=sys.stderr,
        )
    check_config(cfg)
    _merge(cfg, options or {})
    adapt_loaders(cfg)
    use_resumable_loop(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(path).stem))
    if Path(cfg.work_dir).is_file():
        raise StartError(f'work_dir {cfg.work_dir}: this is a file, a folder is needed')
    return cfg


def _merge(cfg: Config, options: Mapping[str, Any]) -> None:
    """Check options and let them replace values of a configuration."""
    if not options:
        return
    check_options(cfg, options)
    check_used_by_options(cfg, options)
    cfg.merge_from_dict(dict(options))
    check_renamed(cfg, '--cfg-options')
    check_parts(cfg, '--cfg-options')


def use_bfloat16(cfg: Config) -> None:
    """Exchange the optimizer wrapper for one that computes in bfloat16, on CPU and GPU."""
    cfg.optim_wrapper.type = 'saip.AutocastOptimWrapper'
    for key in ('loss_scale', 'dtype'):
        cfg.optim_wrapper.pop(key, None)


def use_resumable_loop(cfg: Config) -> None:
    """Exchange mmengine's loop by epochs for one that goes on within an epoch."""
    loop = dict(cfg.get('train_cfg') or {})
    counts_epochs = loop.pop('by_epoch', True)
    if (
        loop
        and loop.get('type', 'EpochBasedTrainLoop') == 'EpochBasedTrainLoop'
        and counts_epochs
    ):
        cfg.train_cfg = {**loop, 'type': 'saip.ResumableEpochLoop'}


def prepare_resume(cfg: Config, resume: str) -> Shapes | None:
    """Point a configuration to the checkpoint that it continues.

    Pretrained weights are not asked for then: the checkpoint holds all weights, and the file
    that the first start was given may be gone.

    Args:
        cfg: the configuration.
        resume: a checkpoint, or ``auto``: the newest valid one; without any, the run begins
            anew.

    Returns:
        Shapes of the checkpoint's weights; None without a checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged, or not the same to all processes.
        FileNotFoundError: there is no such file.
    """
    found = agreed_checkpoint(Path(cfg.work_dir), None if resume == 'auto' else Path(resume))
    if found is None:
        _tell(f'--resume auto: {cfg.work_dir} holds no checkpoint, the run begins anew')
        cfg.resume = False
        return None
    path, checkpoint = found
    _tell(
        f'resuming {path}: {number_of(checkpoint.epoch, "epoch")}, '
        f'{number_of(checkpoint.iteration, "iteration")} done'
    )
    cfg.resume, cfg.load_from = True, str(path)
    drop_pretrained(cfg.model)
    return checkpoint.shapes


def _whole(runner: Runner) -> str:
    """The length of a run, as the subject of a sentence."""
    counts_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    length, unit = (
        (runner.max_epochs, 'epoch') if counts_epochs else (runner.max_iters, 'iteration')
    )
    return f'the only {unit} is' if length == 1 else f'all {length} {unit}s are'


@master_only
def _tell(text: str) -> None:
    print(text, flush=True)


def drop_pretrained(node: Any) -> None:
    """Remove every ``init_cfg`` of type Pretrained, and ``init_from``, in place.

    A checkpoint that is resumed or tested holds all weights.
    """
    if isinstance(node, dict):
        node.pop('init_from', None)
        wanted = node.get('init_cfg')
        entries = wanted if isinstance(wanted, list) else [wanted]
        if any(
            isinstance(entry, dict) and entry.get('type') == 'Pretrained' for entry in entries
        ):
            del node['init_cfg']
        for value in node.values():
            drop_pretrained(value)
    elif isinstance(node, list | tuple):
        for value in node:
            drop_pretrained(value)


class Progress(Hook):
    """Knows whether a first iteration has been done."""

    started = False

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Note it."""
        self.started = True

    def after_test_iter(self, *args: Any, **kwargs: Any) -> None:
        """Note it."""
        self.started = True


@contextmanager
def explained(progress: Progress, cfg: Config, loader: str) -> Iterator[None]:
    """Raise a StartError for what goes wrong with the input before the first iteration.

    Wrong input is what this package says about it, and what the libraries refuse. What an option
    of the loader removes is explained whenever it happens.
    """
    try:
        yield
    except (*REFUSALS, RuntimeError, OSError) as error:
        if (known := explain_step(error, cfg, loader)) is not None:
            raise (StoppedError if progress.started else StartError)(known) from error
        if not isinstance(error, REFUSALS):
            raise
        configured = not isinstance(error, TypeError) or 'argument' in str(error)
        if progress.started or not configured or is_bug(error):
            raise
        raise StartError(one_line(error)) from error


def build_runner(cfg: Config) -> Runner:
    """Build what a configuration describes."""
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    escape_names(runner.logger)
    keep_training(runner)
    runner.register_hook(WorkerErrorsHook())
    runner.register_hook(RecordHook())
    return runner
