"""Batches of P identities with K images."""

from collections import Counter

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler

from saip.downstream.reid import IdentityBatchSampler


class Labels:
    """A data set as the sampler sees it."""

    def __init__(self, counts: list[int]) -> None:
        labels = np.repeat(np.arange(len(counts)), counts)
        self.labels = np.random.default_rng(5).permutation(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def get_gt_labels(self) -> np.ndarray:
        return self.labels


COUNTS = [3, 4, 5, 8, 9, 12, 1, 4, 17, 6, 4, 40]


def make(rank: int = 0, world: int = 1, seed: int = 0, epoch: int = 0, batch: int = 12):
    sampler = DefaultSampler(Labels(COUNTS), shuffle=True, seed=seed)
    sampler.rank, sampler.world_size = rank, world
    batches = IdentityBatchSampler(sampler, batch_size=batch, instances=4)
    batches.sampler.set_epoch(epoch)
    return batches


@pytest.mark.parametrize('world', [1, 2])
def test_a_batch_is_p_identities_with_k_images(world):
    labels = Labels(COUNTS).labels
    for rank in range(world):
        batches = make(rank, world)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        for batch in drawn:
            per_identity = Counter(labels[batch].tolist())
            assert list(per_identity.values()) == [4, 4, 4]
            for identity in per_identity:
                own = [i for i in batch if labels[i] == identity]
                assert len(set(own)) == (4 if COUNTS[identity] >= 4 else len(set(own)))


def test_two_processes_share_no_identity_in_a_step_and_make_one_epoch():
    labels = Labels(COUNTS).labels
    first, second = (list(make(rank, 2)) for rank in range(2))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert not set(labels[one]) & set(labels[other])
    # What two processes see is what one sees with twice the batch.
    assert [a + b for a, b in zip(first, second, strict=True)] == list(make(batch=24))


def test_length_is_the_number_of_whole_steps_of_groups():
    groups = 1 + 1 + 1 + 2 + 2 + 3 + 1 + 1 + 4 + 1 + 1 + 10
    assert len(make()) == groups // 3
    assert len(make(0, 2)) == groups // 6


def test_images_come_back_only_where_identities_run_out():
    """As long as a step finds enough identities with groups left, nothing is repeated."""
    equal = DefaultSampler(Labels([8] * 6), shuffle=True, seed=1)
    for epoch in range(3):
        equal.set_epoch(epoch)
        drawn = [i for batch in IdentityBatchSampler(equal, 24, 4) for i in batch]
        assert sorted(drawn) == list(range(48))


def test_seed_and_epoch_decide():
    assert list(make()) == list(make())
    assert list(make()) != list(make(seed=1))
    assert list(make()) != list(make(epoch=1))
    again = make()
    list(again)
    again.sampler.set_epoch(1)
    assert list(again) == list(make(epoch=1))  # as a resumed run sees it


@pytest.mark.parametrize(
    ('batch', 'world', 'message'),
    [
        (10, 1, 'batch_size=10: .* multiple of 4 from 8 on'),
        (4, 1, 'batch_size=4: .* two identities or more'),
        (28, 2, '7 identities in each of 2 processes, but the training set has 12'),
    ],
)
def test_impossible_batches_are_refused(batch, world, message):
    with pytest.raises(ValueError, match=message):
        make(world=world, batch=batch)
