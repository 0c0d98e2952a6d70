"""How long a training of a comparison is: a number of images, in equal passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from saip.datasets.person_images import PersonImages, held_back_paths
from saip.errors import InputError

HOLDOUT = 0.1
"""Share of the images that no method sees, at most 1,000: those of the two-view recall."""


@dataclass(frozen=True)
class TrainSet:
    """The images of a comparison.

    Attributes:
        folder: where they are.
        files: number of them.
        crops: samples in them; more than files where boxes are cut out.
        held_back: files that are never trained on.
    """

    folder: str
    files: int
    crops: int
    held_back: int

    @classmethod
    def open(cls, folder: str | Path) -> TrainSet:
        """Look at a folder, or at whatever ``saip.PersonImages`` reads.

        Raises:
            FileNotFoundError: there is no such folder.
            DataError: there is no image in it.
        """
        images = PersonImages(str(Path(folder).expanduser()))
        paths = [images.crop(index).path for index in range(len(images))]
        held_back = len(held_back_paths(paths, HOLDOUT))
        return cls(images.data_root, len(set(paths)), len(paths), held_back)


@dataclass(frozen=True)
class Length:
    """Length of a training.

    Attributes:
        epochs: passes over the images it takes.
        holdout: files that are left out, a number; those of :class:`TrainSet` are among them.
        steps: of the whole training.
        images: seen, repetitions counted.
    """

    epochs: int
    holdout: int
    steps: int
    images: int


def plan_length(train_set: TrainSet, images: int, batch: int) -> Length:
    """Divide a number of images into passes.

    As few passes as hold them are made, over equally many images each: where the number is no
    multiple of the set, some files are left out, chosen by a hash of their path. A training
    sees at most the asked number, and less than a batch less in each pass.

    Args:
        train_set: the images there are.
        images: to be seen.
        batch: images per step.

    Raises:
        InputError: fewer images than a batch are asked for, or are there.
    """
    available = train_set.files - train_set.held_back
    crops = available * train_set.crops / train_set.files
    if crops < batch:
        raise InputError(
            f'{train_set.folder}: {available} images to train on ({train_set.held_back} of '
            f'{train_set.files} are held back); at least a batch of {batch} is needed'
        )
    if images < batch:
        raise InputError(f'{images} images to see are less than one batch of {batch}')
    # A pass holds a batch at least.
    epochs = min(math.ceil(images / crops), images // batch)
    in_pass = min(images / epochs, crops)
    files = min(available, math.ceil(in_pass * train_set.files / train_set.crops))
    holdout = train_set.files - files
    samples = min(len(PersonImages(train_set.folder, holdout=holdout)), math.ceil(in_pass))
    steps = epochs * (samples // batch)
    return Length(epochs, holdout, steps, steps * batch)
