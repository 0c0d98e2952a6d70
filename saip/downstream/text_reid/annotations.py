"""Reading the annotation files of CUHK-PEDES and ICFG-PEDES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saip.datasets.coco import load_json
from saip.datasets.crops import DataError
from saip.errors import InputError, MissingFileError

SPLITS = ('train', 'val', 'test')
FORM = (
    'the published file is a list of images, each with split, id, file_path and captions, as in '
    '{"split": "train", "id": 1, "file_path": "CUHK01/0363004.png", "captions": ["A man ..."]}'
)


class DescribedImage(NamedTuple):
    """An image of a person, and what people wrote about it.

    Attributes:
        path: of the image, relative to the folder of images.
        identity: of the person, as in the file.
        captions: one or more texts.
    """

    path: str
    identity: int
    captions: tuple[str, ...]


def read_descriptions(path: str | Path, layout: str) -> dict[str, list[DescribedImage]]:
    """Read all images of an annotation file by their split.

    Args:
        path: JSON file.
        layout: one sentence about the data set, for messages.

    Raises:
        MissingFileError: there is no such file.
        DataError: the file has another form, an image without a caption, one that is listed twice,
            or an identity that is in training and in a test.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'{path}: no such annotation file. {layout}')
    try:
        entries = load_json(path)
    except DataError as error:
        raise DataError(f'{error}; {FORM}') from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: {FORM}')
    found: dict[str, list[DescribedImage]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        split, image = _read_entry(entry, f'{path}: entry {number}')
        if image.path in seen:
            raise DataError(f'{path}: entry {number}: {image.path} is listed twice')
        seen.add(image.path)
        found[split].append(image)
    _check_identities(found, path)
    return found


def _read_entry(entry: Any, place: str) -> tuple[str, DescribedImage]:
    if not isinstance(entry, Mapping):
        raise DataError(f'{place}: {entry!r:.60} is no object; {FORM}')
    missing = [key for key in ('split', 'id', 'file_path', 'captions') if key not in entry]
    if missing:
        raise DataError(f'{place} has no {", ".join(missing)}; {FORM}')
    split, identity, name = entry['split'], entry['id'], entry['file_path']
    if split not in SPLITS:
        raise DataError(f'{place}: unknown split {split!r}; allowed: {", ".join(SPLITS)}')
    if not isinstance(name, str) or not name or Path(name).is_absolute():
        raise DataError(f'{place}: file_path={name!r}: a path relative to the folder of images')
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 0:
        raise DataError(f'{place} ({name}): id={identity!r}: a whole number from 0 on')
    captions = entry['captions']
    if not isinstance(captions, list) or not captions:
        raise DataError(f'{place} ({name}) has no caption: captions={captions!r:.60}')
    empty = [text for text in captions if not isinstance(text, str) or not text.strip()]
    if empty:
        raise DataError(f'{place} ({name}): a caption is empty or no text: {empty[0]!r:.60}')
    return split, DescribedImage(name, identity, tuple(captions))


def _check_identities(found: Mapping[str, Sequence[DescribedImage]], path: str | Path) -> None:
    """Nobody of the training may be looked for."""
    trained = {image.identity for image in found['train']}
    for split in ('val', 'test'):
        both = trained & {image.identity for image in found[split]}
        if both:
            raise DataError(
                f'{path}: identity {min(both)} is in train and in {split}; the splits have no '
                'identity in common'
            )


def check_gaps(images: Sequence[DescribedImage], first: int, path: str | Path) -> None:
    """Check that training identities count from ``first`` without a gap.

    Raises:
        DataError: they do not, so that images are missing or the file is of another set.
    """
    identities = {image.identity for image in images}
    missing = set(range(first, first + len(identities))) - identities
    if missing:
        raise DataError(
            f'{path}: the training identities count from {first} without a gap, but {min(missing)} '
            f'is missing (there are {len(identities)}, {min(identities)} to {max(identities)}): '
            'images are missing, or the file is of another data set'
        )


def check_split(split: str) -> None:
    """Check the name of a split.

    Raises:
        InputError: there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f'split={split!r}: choose one of {", ".join(SPLITS)}')
