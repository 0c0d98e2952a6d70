"""Batches of P identities with K images each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler

from saip.errors import InputError
from saip.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class IdentityBatchSampler:
    """Yields batches of ``batch_size / instances`` identities with ``instances`` images each.

    The rule of the ReID baseline: the images of every identity are shuffled and cut into
    groups, and steps take groups of identities drawn at random until too few identities have
    any left; an identity with too few images repeats some. With several processes a step
    draws the identities of all of them at once, so that in a step no two processes have an
    identity in common. The length of an epoch is fixed, as schedulers need it: all groups, as
    many whole steps as they give. Where too few identities have groups left, the others are
    dealt new ones.

    Everything follows from the sampler's seed and epoch, so a resumed run sees the batches that
    an uninterrupted one sees.

    Args:
        sampler: mmengine's ``DefaultSampler``; it brings the data set (with
            ``get_gt_labels()``), the seed, the epoch, and which process of how many this is.
        batch_size: images per process and step.
        instances: images K per identity.

    Raises:
        ValueError: ``batch_size`` is not at least two times ``instances`` and a multiple of it,
            or the set has fewer identities than a step.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, instances: int = 4) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.instances = instances
        if batch_size % instances or batch_size < 2 * instances:
            raise InputError(
                f'train_dataloader.batch_size={batch_size}: a batch is two identities or more '
                f'with {instances} images each, so it is a multiple of {instances} from '
                f'{2 * instances} on'
            )
        labels = np.asarray(sampler.dataset.get_gt_labels())
        self.images = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.identities = batch_size // instances
        per_step = self.identities * sampler.world_size
        if len(self.images) < per_step:
            raise InputError(
                f'train_dataloader.batch_size={batch_size}: a step takes {self.identities} '
                f'identities in each of {sampler.world_size} processes, but the training set '
                f'has {len(self.images)}; lower it'
            )
        groups = sum(max(1, len(own) // instances) for own in self.images)
        self.length = groups // per_step

    def __len__(self) -> int:
        """Batches per process and epoch."""
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this process in this epoch, as indices of the data set."""
        first = self.sampler.rank * self.identities
        for step in self._steps():
            own = step[first : first + self.identities]
            yield [int(index) for group in own for index in group]

    def _steps(self) -> Iterator[list[np.ndarray]]:
        """Yield the groups of each step, those of all processes one after the other."""
        rng = np.random.default_rng([self.sampler.seed, self.sampler.epoch])
        left = [self._deal(own, rng) for own in self.images]
        wanted = self.identities * self.sampler.world_size
        for _ in range(self.length):
            ready = [i for i, groups in enumerate(left) if groups]
            if len(ready) < wanted:
                empty = np.array([i for i, groups in enumerate(left) if not groups])
                dealt = rng.choice(empty, wanted - len(ready), replace=False)
                for i in dealt:
                    left[i] = self._deal(self.images[i], rng)
                ready += dealt.tolist()
            chosen = rng.choice(np.array(ready), wanted, replace=False)
            yield [left[i].pop() for i in chosen]

    def _deal(self, images: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Shuffle the images of an identity and cut them into groups; a rest is left out."""
        size = self.instances
        if len(images) < size:
            return [rng.choice(images, size)]
        shuffled = rng.permutation(images)
        return [shuffled[i : i + size] for i in range(0, len(shuffled) - size + 1, size)]
