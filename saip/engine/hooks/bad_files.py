"""Count the images that could not be read, and stop when they are many."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import Dataset

from saip.datasets.readable import STANDS_IN_FOR
from saip.engine.sample_names import sample_name
from saip.errors import StoppedError
from saip.registry import HOOKS

SHOWN_NAMES = 10


class TooManyBadFilesError(StoppedError):
    """More images are bad than a run may pass over."""


class _Count:
    """Images of an epoch, or of its rest after a resume: seen, and names of the unreadable."""

    def __init__(self) -> None:
        self.seen = 0
        self.bad = 0
        self.names: set[str] = set()
        self.is_rest = False

    def add(self, dataset: Dataset, batch: Any) -> None:
        """Look at a batch on the host."""
        if not isinstance(batch, Mapping):
            return
        samples, replaced = batch.get('data_samples'), batch.get('replaced')
        if isinstance(samples, list | tuple):
            found = [x.get(STANDS_IN_FOR) for x in samples if isinstance(x, BaseDataElement)]
            self._add(len(found), [str(path) for path in found if path is not None])
        elif isinstance(replaced, Tensor):
            rows = (replaced >= 0).nonzero().flatten().tolist()
            indices, keys = batch['index'], batch['key']
            names = [
                sample_name(dataset, int(indices[row]), int(keys[row]), int(replaced[row]))
                for row in rows
            ]
            self._add(len(replaced), names)

    def _add(self, seen: int, names: Sequence[str]) -> None:
        self.seen += seen
        self.bad += len(names)
        self.names.update(names)

    def over_processes(self) -> _Count:
        """Add up what all processes have counted."""
        total = _Count()
        for seen, bad, names in dist.all_gather_object((self.seen, self.bad, self.names)):
            total.seen += seen
            total.bad += bad
            total.names |= names
        return total

    def __str__(self) -> str:
        shown: Sequence[str] = sorted(self.names)[:SHOWN_NAMES]
        left = len(self.names) - len(shown)
        more = f' and {left} more' if left else ''
        return f'{self.bad} of {self.seen} images could not be read: {", ".join(shown)}{more}'


@HOOKS.register_module()
class BadFilesHook(Hook):
    """Stop a run in which too many images are replaced, with a summary of them.

    The batches are looked at before they go to the device, so nothing is synchronized. Each
    process checks its own images after every iteration; at the end of an epoch, of training or of
    validation, they are added up over all processes, reported, and checked again. A part of an
    epoch, such as the rest of a resumed one, has to exceed the limit by far more than chance: a
    few of the first images may be bad by chance, and every resume would meet them again. It reads
    the batches of ``saip.PersonImages`` and of the data sets of the downstream tasks.

    Args:
        limit: largest share of bad images among those of a whole epoch.
        min_seen: number of images that a process must have seen before it may stop the run
            within an epoch.

    Raises:
        TooManyBadFilesError: the share is exceeded.
    """

    def __init__(self, limit: float = 0.01, min_seen: int = 200) -> None:
        self.limit = limit
        self.min_seen = min_seen
        self.training, self.validation = _Count(), _Count()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start to count."""
        self.training = _Count()

    def before_val_epoch(self, runner: Runner) -> None:
        """Start to count."""
        self.validation = _Count()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Count the replaced samples of the batch that was trained on."""
        if batch_idx and not self.training.seen:
            self.training.is_rest = True
        self.training.add(runner.train_dataloader.dataset, data_batch)
        self._check_early(self.training)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Count the replaced samples of a batch of the validation."""
        self.validation.add(runner.val_dataloader.dataset, data_batch)
        self._check_early(self.validation)

    def after_train_epoch(self, runner: Runner) -> None:
        """Add up over the processes, report and check."""
        self._judge(self.training, f'epoch {runner.epoch + 1}')

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add up over the processes, report and check."""
        self._judge(self.validation, f'validation at iteration {runner.iter}')

    def _check_early(self, count: _Count) -> None:
        if count.seen >= self.min_seen:
            self._check(count, of_a_part=True)

    def _judge(self, count: _Count, when: str) -> None:
        total = count.over_processes()
        self._check(total, count.is_rest)
        if total.bad:
            # Its time makes the line a new one: mmengine's logger drops repeated warnings.
            print_log(f'{when}: {total}', 'current', logging.WARNING)

    def _check(self, count: _Count, of_a_part: bool) -> None:
        most = self.limit * count.seen
        if of_a_part:
            most += (
                6 * math.sqrt(most) + 3
            )  # six standard deviations, and a few of a small part
        if count.bad > most:
            raise TooManyBadFilesError(
                f'{count}; more than {self.limit:.1%} is not noise: check the data with '
                'tools/dataset_converters/make_manifest.py'
            )
