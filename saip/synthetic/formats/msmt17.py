"""MSMT17 (V1): identities in folders, and four lists."""

from __future__ import annotations

from dataclasses import dataclass

from ..rendered_crop import plan_crop, render_crop
from ..sheet import Card
from .base import Job, native

# Far from the identities of the other sets of single crops.
_IDENTITIES = 40_000_000
_HOURS = ('morning', 'noon', 'afternoon')
_SIZE = (128, 64)


@dataclass(frozen=True)
class Size:
    """Numbers of a set; everybody is seen by all cameras, ``shots`` times by each.

    Attributes:
        train: identities of training and validation, which share them.
        test: identities of query and gallery.
    """

    train: int
    test: int
    cameras: int
    shots: int


SIZES = {'tiny': Size(6, 4, 3, 2), 'small': Size(120, 40, 5, 3)}


@dataclass(frozen=True)
class MsmtImage:
    """One file: its list, its path below ``train`` or ``test``, and what is drawn."""

    list: str
    split: str
    path: str
    pid: int
    key: tuple[int, int, int]


@native('msmt17', SIZES)
def write_msmt17(job: Job[Size]) -> list[Card]:
    """Write ``train``, ``test`` and the lists of training, validation, query and gallery."""
    images, cards = list_images(job.spec), []
    job.map(_draw, images)
    for name in ('train', 'val', 'query', 'gallery'):
        chosen = [image for image in images if image.list == name]
        text = ''.join(f'{image.path} {image.pid}\n' for image in chosen)
        (job.root / f'list_{name}.txt').write_text(text, encoding='utf-8')
        for image in chosen[:6]:
            words = [name, f'id {image.pid}', f'camera {image.key[1]}']
            cards.append(Card(f'{image.split}/{image.path}', words))
    return cards


def list_images(spec: Size) -> list[MsmtImage]:
    """Return all images; the last of an identity's training images validates."""
    images = []
    for split, count, first in (('train', spec.train, 0), ('test', spec.test, spec.train)):
        for pid in range(count):
            views = [(c, s) for s in range(spec.shots) for c in range(1, spec.cameras + 1)]
            for number, (camera, shot) in enumerate(views):
                hour = _HOURS[shot % len(_HOURS)]
                frame = 100 + 40 * shot + 7 * camera
                name = f'{pid:04d}_{number:03d}_{camera:02d}_0303{hour}_{frame:04d}_0.jpg'
                purpose = 'gallery' if shot else 'query'
                if split == 'train':
                    purpose = 'val' if number == len(views) - 1 else 'train'
                key = (_IDENTITIES + first + pid, camera, shot)
                images.append(MsmtImage(purpose, split, f'{pid:04d}/{name}', pid, key))
    return images


def _draw(job: Job[Size], image: MsmtImage) -> None:
    shot = plan_crop(job.seed, *image.key)
    job.save(f'{image.split}/{image.path}', render_crop(shot, _SIZE), shot.camera.quality)
