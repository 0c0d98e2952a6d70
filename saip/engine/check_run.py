"""All that can be known about a run before it: keys, paths, a batch, a step, a checkpoint, room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from mmengine.config import Config

from saip.engine.disk_budget import (
    Budget,
    budget_of,
    check_disk,
    described,
    existing,
    free_bytes,
    size,
)
from saip.engine.launch import (
    Progress,
    build_runner,
    explained,
    prepare_run,
)
from saip.engine.rehearsal import Rehearsed, rehearse, rehearsed_in
from saip.engine.required_paths import check_paths
from saip.engine.runner_checks import check_runner
from saip.engine.start_checks import refuse_used_folder
from saip.errors import StartError, StoppedError, one_line

Tell = Callable[[str, str], None]
"""Takes the name of a check that has passed and what it found."""


def check_run(
    config: str,
    tell: Tell,
    work_dir: str | None = None,
    amp: bool = False,
    validate: bool = True,
    auto_scale_lr: bool = False,
    options: Mapping[str, Any] | None = None,
    processes: int = 1,
) -> None:
    """Check a run by doing its beginning, and keep nothing of it.

    Args:
        config: path of the configuration.
        tell: is called with each result.
        work_dir: folder of the run, as for :func:`saip.engine.launch.train`.
        amp: compute in bfloat16.
        validate: run the configuration's validation.
        auto_scale_lr: scale the learning rate with the batch size.
        options: values that replace some of the configuration, by dotted keys.
        processes: that the run will have, for its time.

    Raises:
        InputError: what the run would have stopped at, with what to change.
    """
    cfg = prepare_run(config, work_dir, amp, validate, auto_scale_lr, options)
    tell('keys', 'every key is read by something')
    check_beginning(cfg, tell, processes)


def check_beginning(cfg: Config, tell: Tell, processes: int = 1) -> None:
    """Check a run of which the configuration is prepared; see :func:`check_run`."""
    tell('paths', f'{check_paths(cfg)} files and folders exist')
    refuse_used_folder(cfg.work_dir)
    folder = Path(cfg.work_dir)
    tell('work dir', f'{folder}, {size(free_bytes(folder))} free')
    found = _rehearsed(cfg)
    validated = f'; {found.validated} of the validation' if found.validated else ''
    tell('batch', f'{found.images} images, after {found.seconds_to_batch:.1f} s{validated}')
    tell('step', f'loss {found.loss:.4g}, {median(found.seconds):.3g} s')
    tell('save', f'{size(found.checkpoint_bytes)}, written and read back')
    sizes = found.checkpoint_bytes, found.backbone_bytes
    budget = budget_of(cfg, found.epochs, found.iterations, *sizes)
    check_disk(folder, budget)
    tell('disk', _needs(budget, folder))
    tell('time', _estimate(found, processes))


def _rehearsed(cfg: Config) -> Rehearsed:
    """Do the beginning of a run in a folder that is removed."""
    try:
        with rehearsed_in(cfg) as temporary, explained(Progress(), cfg, 'train_dataloader'):
            runner = build_runner(temporary)
            check_runner(runner, temporary, None)
            return rehearse(runner, temporary)
    except StoppedError as error:
        raise StartError(one_line(error)) from error
    except OSError as error:
        if error.filename is None:  # not raised about a path that a user gave
            raise
        raise StartError(f'work_dir {cfg.work_dir}: {one_line(error)}') from error


def _needs(budget: Budget, folder: Path) -> str:
    return (
        f'keeps up to {size(budget.bytes)} of {size(free_bytes(folder))} in {existing(folder)} '
        f'({described(budget)})'
    )


def _estimate(found: Rehearsed, processes: int) -> str:
    """How long the run takes; what is measured here stands for every process."""
    steps = -(-found.iterations // processes)
    seconds = steps * median(found.seconds)
    taken = str(timedelta(seconds=round(seconds)))
    of = '1 process' if processes == 1 else f'{processes} processes'
    return f'{taken} for {steps:,} steps on {of}, without validation'
