"""The training loop by epochs, which goes on within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.runner import EpochBasedTrainLoop

from saip.errors import InputError
from saip.registry import LOOPS


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's loop by epochs, but a run that stopped within an epoch goes on there.

    mmengine begins the epoch anew, with a count of iterations that no longer fits its epochs. Here
    the batches that were done are left out before any image of them is read; the others are those
    of the whole epoch, in its order, since samplers depend on the epoch and the seed alone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batches = _LaterBatches(self.dataloader.batch_sampler)
        # torch allows no other batch sampler after the loader is made, since a loader's workers
        # may have begun with the former one; these have not begun.
        object.__setattr__(self.dataloader, 'batch_sampler', self._batches)

    def run_epoch(self) -> None:
        """Iterate over what is left of an epoch.

        Raises:
            InputError: a resumed run stands at a step that is not of its epoch.
        """
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if not 0 <= done <= len(self.dataloader):
            raise InputError(
                f'--resume: {self._epoch} epochs and {self._iter} iterations are done, which do '
                f'not fit epochs of {len(self.dataloader)} steps: resume with the former batch '
                'size, processes and images'
            )
        self._batches.skip(done)
        for index, batch in enumerate(self.dataloader, done):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


def unwrapped(batches: Any) -> Any:
    """The batch sampler of a loader, without the layer that leaves batches out."""
    return batches.all if isinstance(batches, _LaterBatches) else batches


class _LaterBatches:
    """A batch sampler without its first batches."""

    def __init__(self, batches: Any) -> None:
        self._all = batches
        self._skipped = 0

    def skip(self, number: int) -> None:
        """Leave out so many batches from now on; a loader with workers asks twice per epoch."""
        self._skipped = number

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self._all), self._skipped, None)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def all(self) -> Any:
        """The batch sampler with all of them."""
        return self._all

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)  # batch_size, sampler: hooks and checks ask for them
