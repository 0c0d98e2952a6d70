"""Names of the samples of a training batch, for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dataset import ConcatDataset
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import Dataset

from saip.datasets.person_images import PersonImages

Ids = list[tuple[int, int] | str]
"""Samples of a batch on the host: (position, key) where names are looked up later, or names."""


def sample_ids(data_batch: Any) -> Ids:
    """What a batch says of its samples; empty where it says nothing.

    Args:
        data_batch: with ``index`` and ``key`` (:class:`PersonImages`, tensors on the host), with
            ``index`` alone, or with the ``data_samples`` of an OpenMMLab library.
    """
    if not isinstance(data_batch, Mapping):
        return []
    index = data_batch.get('index')
    if isinstance(index, Tensor):
        key = data_batch.get('key')
        if isinstance(key, Tensor):
            return list(zip(index.tolist(), key.tolist(), strict=True))
        return [f'sample {position}' for position in index.tolist()]
    samples = data_batch.get('data_samples')
    if not isinstance(samples, list | tuple):
        return []
    described = [x for x in samples if isinstance(x, BaseDataElement)]
    return [
        str(x.get('img_path') or f'sample {x.get("sample_idx", "of unknown position")}')
        for x in described
    ]


def sample_name(dataset: Dataset, index: int, key: int, wanted: int | None = None) -> str:
    """Path (and box) of a sample.

    Args:
        dataset: the training set, or a mixture of several.
        index: position in the set itself.
        key: of the sample at ``index``, by which its set is found in a mixture.
        wanted: position in the same set of the sample to name; None names the one at ``index``.
    """
    position = index if wanted is None else wanted
    members = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
    for member in members:
        if (
            isinstance(member, PersonImages)
            and max(index, position) < len(member)
            and member.key(index) == key
        ):
            return member.name(position)
    return f'sample {position}'


def names_of(dataset: Dataset, ids: Ids) -> list[str]:
    """Names of samples."""
    return [x if isinstance(x, str) else sample_name(dataset, *x) for x in ids]
