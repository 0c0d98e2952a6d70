"""What is looked at before a training begins, so that it cannot go wrong in silence.

These checks read the configuration alone; those of :mod:`saip.engine.schedule_checks` need the
training set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.errors import InputError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class StartError(InputError):
    """A run could not start, for a reason that its user can remove."""


def adapt_loaders(cfg: Config) -> None:
    """Take away what torch refuses without worker processes, in place.

    ``num_workers=0`` is an option of its own then: it needs no others beside it.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if isinstance(loader, dict) and loader.get('num_workers') == 0:
            if loader.get('persistent_workers'):
                loader['persistent_workers'] = False
            for key in ('prefetch_factor', 'timeout', 'multiprocessing_context'):
                loader.pop(key, None)


def refuse_used_folder(work_dir: str | os.PathLike) -> None:
    """Refuse to begin anew where another run has left its checkpoints.

    Its checkpoints would be overwritten one by one, and the best ones of two runs would stand
    side by side.

    Raises:
        StartError: the folder holds checkpoints.
    """
    folder = Path(work_dir)
    patterns = ('epoch_*.pth', 'iter_*.pth', 'best_*.pth', 'last_checkpoint')
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if found:
        raise StartError(
            f'{folder} holds the checkpoints of a run ({found[0]}'
            f'{", ..." if len(found) > 1 else ""}), which a new one would overwrite: continue it '
            'with --resume, or choose another folder with --work-dir'
        )


def check_plateau(cfg: Config) -> None:
    """Refuse a schedule that waits for a metric of a validation that is turned off.

    Raises:
        StartError: ``param_scheduler`` reads a metric, and nothing is validated.
    """
    if cfg.get('val_cfg') is not None and cfg.get('val_dataloader'):
        return
    for key, entry in schedule_entries(cfg.get('param_scheduler')):
        if 'ReduceOnPlateau' in str(entry.get('type')):
            metric = entry.get('monitor', 'loss')
            raise StartError(
                f'{key} ({entry["type"]}) follows {metric} of the validation, which is turned off '
                '(--no-validate): the rate would stay at its first value. Validate, or set '
                'another param_scheduler'
            )


def schedule_entries(schedulers: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schedules of a configuration with the dotted key of each."""
    if isinstance(schedulers, Mapping) and 'type' in schedulers:
        yield 'param_scheduler', schedulers  # type: ignore[misc]
    elif isinstance(schedulers, list | tuple):
        for index, entry in enumerate(schedulers):
            if isinstance(entry, Mapping):
                yield f'param_scheduler.{index}', entry  # type: ignore[misc]


def check_held_back(cfg: Config) -> None:
    """Refuse to train on images that are held back for the validation.

    An image is held back by its place in the listing's choice, so the sets that train, validate
    and test have to name the same folder, listing and ``holdout``.

    Raises:
        StartError: the sets differ in one of them; names both keys with their values.
    """
    if not cfg.get('val_dataloader'):
        return
    trained = list(_person_sets(cfg.get('train_dataloader'), 'train_dataloader'))
    for name in ('val_dataloader', 'test_dataloader'):
        for key, held in _person_sets(cfg.get(name), name):
            if held.get('part') != 'held_back':
                continue
            for train_key, train in trained:
                _compare_sets(train_key, train, key, held)


def _person_sets(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the ``PersonImages`` of a loader, those in wrappers included."""
    if isinstance(node, Mapping):
        if str(node.get('type')).rsplit('.', 1)[-1] == 'PersonImages':
            yield key, node
        for name, value in node.items():
            yield from _person_sets(value, f'{key}.{name}')
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _person_sets(value, f'{key}.{index}')


def _compare_sets(
    train_key: str, train: Mapping[str, Any], key: str, held: Mapping[str, Any]
) -> None:
    roots = [Path(str(one.get('data_root'))).resolve() for one in (train, held)]
    if not (roots[0].is_relative_to(roots[1]) or roots[1].is_relative_to(roots[0])):
        return
    defaults = {'data_root': '', 'ann_file': '', 'data_prefix': '', 'holdout': 0}
    for option, default in defaults.items():
        one, other = train.get(option, default), held.get(option, default)
        same = roots[0] == roots[1] if option == 'data_root' else one == other
        if not same:
            raise StartError(
                f'{train_key}.{option}={one!r}, but {key}.{option}={other!r}: images that are '
                'held back for the validation would be trained on; set both to one value, or '
                'train with --no-validate'
            )
