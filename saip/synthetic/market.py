"""Write synthetic persons as a re-identification set in the layout of Market-1501."""

from __future__ import annotations

import functools
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from saip.datasets.parallel import parallel_map
from saip.errors import InputError

from .folder import write_folder
from .rendered_crop import (
    STRANGERS,
    RenderedCrop,
    encode_jpeg,
    plan_crop,
    plan_misdetection,
    render_crop,
)
from .sheet import Card, save_sheet

# Raise it whenever the same parameters give other images: a finished set is recognized by it.
VERSION = 2
TRAIN, QUERY, GALLERY = 'bounding_box_train', 'query', 'bounding_box_test'
# Shots of one identity and camera: training or query from 0, gallery after the query.
_JUNK_SHOT = 1000
# Identities of the contact sheet.
_SHOWN = 12


@dataclass(frozen=True)
class MarketSpec:
    """What a set holds; identities of train and test are disjoint.

    Attributes:
        train_identities: identities of the training set, numbered from 1.
        test_identities: identities of query and gallery, numbered on from those.
        cameras: every identity is seen by all of them.
        train_shots: training images per identity and camera.
        gallery_shots: gallery images per test identity and camera, beside one query.
        distractors: gallery images of nobody in the set (identity 0000).
        junk: gallery images that an evaluation ignores (identity -1).
        height: of an image, pixels.
        width: of an image, pixels.
        seed: another seed gives other people, cameras and images.
    """

    train_identities: int
    test_identities: int
    cameras: int = 4
    train_shots: int = 1
    gallery_shots: int = 2
    distractors: int = 0
    junk: int = 0
    height: int = 128
    width: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            low = 0 if name in ('distractors', 'junk', 'seed') else 1
            if value < low:
                raise InputError(f'{name} of a people set must be at least {low}, not {value}')
        if self.cameras < 2:
            raise InputError('a people set needs at least 2 cameras to retrieve across')


SIZES: dict[str, MarketSpec] = {
    'tiny': MarketSpec(6, 4, cameras=3, gallery_shots=1, distractors=2, junk=2),
    'small': MarketSpec(120, 40, train_shots=2, distractors=24, junk=16),
    'quickstart': MarketSpec(1200, 80, distractors=48, junk=32),
    'large': MarketSpec(4000, 200, cameras=6, distractors=200, junk=100, height=256, width=128),
}


@dataclass(frozen=True)
class MarketImage:
    """One file of a set: where it goes and what is drawn.

    Attributes:
        path: relative to the set's root.
        kind: ``person``, ``cut`` (a box that misses most of the person) or ``empty``.
        key: (identity, camera, shot).
    """

    path: str
    kind: str
    key: tuple[int, int, int]


def list_images(spec: MarketSpec) -> list[MarketImage]:
    """Return all images of a set, in the order training, query, gallery."""
    cameras = range(1, spec.cameras + 1)
    first_test = spec.train_identities + 1
    train, test = range(1, first_test), range(first_test, first_test + spec.test_identities)
    gallery_shots = range(1, 1 + spec.gallery_shots)
    images = [
        _shot_of(TRAIN, i, c, s)
        for i in train
        for c in cameras
        for s in range(spec.train_shots)
    ]
    images += [_shot_of(QUERY, i, c, 0) for i in test for c in cameras]
    images += [_shot_of(GALLERY, i, c, s) for i in test for c in cameras for s in gallery_shots]
    for number in range(spec.distractors):
        camera = 1 + number % spec.cameras
        path = f'{GALLERY}/0000_c{camera}s1_{51 + 25 * number:06d}_00.jpg'
        kind = 'empty' if number % 2 else 'cut'
        images.append(MarketImage(path, kind, (2 * STRANGERS + number, camera, 0)))
    for number in range(spec.junk):
        camera = 1 + number % spec.cameras
        path = f'{GALLERY}/-1_c{camera}s1_{51 + 25 * number:06d}_00.jpg'
        identity = test[number % len(test)]
        images.append(MarketImage(path, 'cut', (identity, camera, _JUNK_SHOT + number)))
    return images


def _shot_of(folder: str, identity: int, camera: int, shot: int) -> MarketImage:
    name = f'{identity:04d}_c{camera}s1_{51 + 25 * shot:06d}_00.jpg'
    return MarketImage(f'{folder}/{name}', 'person', (identity, camera, shot))


def draw_image(spec: MarketSpec, image: MarketImage) -> bytes:
    """Draw one image of a set, JPEG bytes; the same alone and among others."""
    shot = _plan(spec, image)
    return encode_jpeg(render_crop(shot, (spec.height, spec.width)), shot.camera.quality)


def _plan(spec: MarketSpec, image: MarketImage) -> RenderedCrop:
    if image.kind == 'person':
        return plan_crop(spec.seed, *image.key)
    return plan_misdetection(spec.seed, *image.key, person=image.kind == 'cut')


def write_market1501(out: str | os.PathLike, spec: MarketSpec, workers: int = 1) -> bool:
    """Write a set to ``out``; it appears there at once, complete, or not at all.

    The progress is printed to stderr.

    Args:
        out: folder to make. One with the same finished set is left as it is.
        spec: what to draw.
        workers: processes that draw.

    Returns:
        True if the set was written, False if it was there already.

    Raises:
        ValueError: ``out`` holds something else, or ``workers`` is below 1.
    """
    stamp = {'format': 'market1501', 'version': VERSION, **asdict(spec)}
    return write_folder(out, stamp, functools.partial(_fill, spec=spec, workers=workers))


def _fill(root: Path, spec: MarketSpec, workers: int) -> None:
    for folder in (TRAIN, QUERY, GALLERY):
        (root / folder).mkdir()
    write = functools.partial(_write_image, root=root, spec=spec)
    images = list_images(spec)
    parallel_map(write, images, workers, 'people drawn')
    shown = [image for image in images if image.key[0] <= _SHOWN and image.kind == 'person']
    save_sheet(root, [Card(image.path, [f'camera {image.key[1]}']) for image in shown])


def _write_image(image: MarketImage, root: Path, spec: MarketSpec) -> None:
    (root / image.path).write_bytes(draw_image(spec, image))
