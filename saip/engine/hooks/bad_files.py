"""Count the images that could not be read, and stop when they are many."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from saip.engine.sample_names import sample_name
from saip.errors import StoppedError
from saip.registry import HOOKS

SHOWN_NAMES = 10


class TooManyBadFilesError(StoppedError):
    """More images are bad than a run may pass over."""


@HOOKS.register_module()
class BadFilesHook(Hook):
    """Stop a training in which too many images are replaced, with a summary of them.

    The batches are looked at before they go to the device, so nothing is synchronized. Each
    process checks its own images after every iteration; at the end of an epoch they are added
    up over all processes, reported, and checked again.

    Args:
        limit: largest share of bad images among those seen in the epoch.
        min_seen: number of images that a process must have seen before it may stop the run
            within an epoch.

    Raises:
        TooManyBadFilesError: the share is exceeded.
    """

    def __init__(self, limit: float = 0.01, min_seen: int = 200) -> None:
        self.limit = limit
        self.min_seen = min_seen
        self._start()

    def _start(self) -> None:
        self.seen = 0
        self.bad = 0
        self.names: set[str] = set()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start to count."""
        self._start()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Tensor] | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Count the replaced samples of the batch that was trained on."""
        assert data_batch is not None
        replaced = data_batch['replaced']
        rows = (replaced >= 0).nonzero().flatten().tolist()
        self.seen += len(replaced)
        self.bad += len(rows)
        for row in rows:
            index, key = int(data_batch['index'][row]), int(data_batch['key'][row])
            dataset = runner.train_dataloader.dataset
            self.names.add(sample_name(dataset, index, key, int(replaced[row])))
        if self.seen >= self.min_seen:
            self._check(self.seen, self.bad, self.names)

    def after_train_epoch(self, runner: Runner) -> None:
        """Add up over the processes, report and check."""
        totals = dist.all_gather_object((self.seen, self.bad, self.names))
        seen = sum(total[0] for total in totals)
        bad = sum(total[1] for total in totals)
        names = set().union(*(total[2] for total in totals))
        self._check(seen, bad, names)
        if bad:
            # The epoch makes the line a new one: mmengine's logger drops repeated warnings.
            text = f'epoch {runner.epoch + 1}: {self._summary(seen, bad, names)}'
            print_log(text, 'current', logging.WARNING)

    def _check(self, seen: int, bad: int, names: set[str]) -> None:
        if bad > self.limit * seen:
            raise TooManyBadFilesError(
                f'{self._summary(seen, bad, names)}; more than {self.limit:.1%} is not noise: '
                'check the data with tools/dataset_converters/make_manifest.py'
            )

    @staticmethod
    def _summary(seen: int, bad: int, names: set[str]) -> str:
        shown: Sequence[str] = sorted(names)[:SHOWN_NAMES]
        more = f' and {len(names) - len(shown)} more' if len(names) > len(shown) else ''
        return f'{bad} of {seen} images could not be read: {", ".join(shown)}{more}'
