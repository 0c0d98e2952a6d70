"""Whether the training set has the keypoints that masks of body parts need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset

from saip.datasets.person_images import PersonImages
from saip.engine.start_checks import needing_keypoints, others_than_error
from saip.errors import StartError, printable


def check_all_have_keypoints(dataset: Any, cfg: Config) -> None:
    """Refuse samples without keypoints where nothing stands in for them.

    The first batch with one of them would end the run, however late it comes.

    Args:
        dataset: of the training.
        cfg: the configuration.

    Raises:
        StartError: a sample has none; names how many, one of them, and the options.
    """
    views = needing_keypoints(cfg)
    if not views:
        return
    sets = list(_person_sets(dataset))
    without = [images.without_keypoints() for images in sets]
    count, total = sum(map(len, without)), sum(map(len, sets))
    if not count:
        return
    images, positions = next(pair for pair in zip(sets, without, strict=True) if pair[1])
    file = images.keypoints.path if images.keypoints else 'train_dataloader.dataset.keypoints'
    raise StartError(
        f'parts of the body are hidden in {", ".join(views)}, and {count:,} of the {total:,} '
        f'training samples have no keypoints in {printable(file)}, such as '
        f'{images.name(positions[0])}: make the file again for all of them '
        f'(tools/dataset_converters/make_keypoints.py), or {others_than_error(views)}'
    )


def _person_sets(dataset: Any) -> Iterator[PersonImages]:
    """Yield the sets of images, those in wrappers included."""
    match dataset:
        case PersonImages():
            yield dataset
        case ConcatDataset():
            for part in dataset.datasets:
                yield from _person_sets(part)
        case RepeatDataset() | ClassBalancedDataset():
            yield from _person_sets(dataset.dataset)
