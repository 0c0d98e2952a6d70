"""CIHP: scenes of several people with 20 labels of parts, in both published layouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..scene.actor import Actor
from ..scene.parts import CIHP_LABELS, cihp_table
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Rendered, render_scene
from .base import APART, encode_png, save_jpeg, save_json
from .coco_format import LEAST_AREA, polygons, xywh
from .native import Job, Splits, native
from .sheet import BLUE, Card, palette

_FIRST = {'train': 4 * APART, 'val': 4 * APART + APART // 2, 'test': 4 * APART + APART // 4}
CROWDING = Crowding((2, 5), (0.35, 0.9), huddle=0.5)
SIZES = {
    'tiny': Splits(8, 6, 0, (160, 224)),
    'small': Splits(300, 80, 0, (256, 352)),
}
RAW_SPLITS = {'train': 'Training', 'val': 'Validation'}
# Split and number of an image, from 1.
Item = tuple[str, int]


@dataclass(frozen=True)
class Parsed:
    """A scene with a map of labels for each of its people.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        people: id of a person -> (h, w) uint8 of ``CIHP_LABELS``. Ids begin with 1; they
            have gaps where somebody is hidden, and in every third scene after the first.
    """

    image: np.ndarray
    quality: int
    people: dict[int, np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """Labels of all people, (h, w) uint8."""
        return np.maximum.reduce(
            [np.zeros(self.image.shape[:2], np.uint8), *self.people.values()]
        )


def draw_parsed(job: Job[Splits], item: Item) -> Parsed:
    """Draw a scene; both layouts hold the same."""
    split, number = item
    scene = plan_crowd(job.seed, _FIRST[split] + number, job.spec.size, CROWDING)
    rendered = render_scene(scene)
    gap = 2 if number % 3 == 0 else 0
    people = {
        number + 1 + (gap if number else 0): labels
        for number, labels in enumerate(_label_maps(rendered))
        if (labels > 0).sum() >= LEAST_AREA
    }
    return Parsed(rendered.image, scene.camera.quality, people)


def _label_maps(rendered: Rendered) -> list[np.ndarray]:
    maps = []
    for number, seen in enumerate(rendered.seen):
        assert isinstance(seen.subject, Actor)
        maps.append(rendered.parts(number, cihp_table(seen.subject.character)))
    return maps


@native('cihp', SIZES)
def write_cihp(job: Job[Splits]) -> list[Card]:
    """Write ``{train,val}_{img,parsing,seg}`` and ``annotations/CIHP_{train,val}.json``.

    This is the layout of Parsing R-CNN: one file of labels for every person.
    """
    cards = []
    for split, items in _items(job.spec):
        found = job.map(_draw, items)
        rows = [row for _, rows in found for row in rows]
        document = {
            'info': {'description': 'Synthetic persons, CIHP'},
            'images': [image for image, _ in found],
            'annotations': [{'id': number + 1, **row} for number, row in enumerate(rows)],
            'categories': [
                {'id': 1, 'name': 'person', 'supercategory': '', 'parsing': list(CIHP_LABELS)}
            ],
        }
        save_json(job.root / 'annotations' / f'CIHP_{split}.json', document)
        cards += [_card(split, *one) for one in found[:6]]
    return cards


def _items(spec: Splits) -> list[tuple[str, list[Item]]]:
    counts = {split: count for split, count in spec.items() if count}
    return [(split, [(split, n + 1) for n in range(count)]) for split, count in counts.items()]


def _draw(job: Job[Splits], item: Item) -> tuple[dict, list[dict]]:
    split, number = item
    parsed, stem = draw_parsed(job, item), _stem(number)
    save_jpeg(job.root / f'{split}_img' / f'{stem}.jpg', parsed.image, parsed.quality)
    save_labels(job.root / f'{split}_seg' / f'{stem}.png', parsed.labels)
    height, width = job.spec.size
    image = {'id': number, 'file_name': f'{stem}.jpg', 'height': height, 'width': width}
    rows = []
    for person, labels in parsed.people.items():
        name = f'{stem}-{person}.png'
        save_labels(job.root / f'{split}_parsing' / name, labels)
        lines, columns = np.nonzero(labels)
        box = (columns.min(), lines.min(), columns.max() + 1, lines.max() + 1)
        rows.append({
            'image_id': number,
            'category_id': 1,
            'bbox': xywh([float(value) for value in box]),
            'area': len(lines),
            'iscrowd': 0,
            'segmentation': polygons(labels > 0),
            'parsing': name,
        })  # fmt: skip
    return image, rows


def _card(split: str, image: dict, rows: list[dict]) -> Card:
    return Card(
        f'{split}_img/{image["file_name"]}',
        boxes=[(row['bbox'], BLUE) for row in rows],
        outlines=[outline for row in rows for outline in row['segmentation']],
        labels=f'{split}_seg/{image["file_name"].replace(".jpg", ".png")}',
        names=CIHP_LABELS,
    )


@native('cihp_raw', SIZES)
def write_cihp_raw(job: Job[Splits]) -> list[Card]:
    """Write ``Training`` and ``Validation`` with ``Images``, three maps and their pictures.

    This is the layout of the download, of the same scenes as ``write_cihp``: ``Category_ids``,
    ``Human_ids`` and ``Instance_ids`` are gray, the folders without ``_ids`` hold them in colors.
    """
    cards = []
    for split, items in _items(job.spec):
        folder = RAW_SPLITS[split]
        stems = job.map(_draw_raw, items)
        text = ''.join(f'{stem}\n' for stem in stems)
        (job.root / folder / f'{split}_id.txt').write_text(text, encoding='utf-8')
        for stem in stems[:6]:
            maps = f'{folder}/Category_ids/{stem}.png'
            card = Card(f'{folder}/Images/{stem}.jpg', labels=maps, names=CIHP_LABELS)
            cards.append(card)
    return cards


def _draw_raw(job: Job[Splits], item: Item) -> str:
    split, number = item
    parsed, stem = draw_parsed(job, item), _stem(number)
    root = job.root / RAW_SPLITS[split]
    save_jpeg(root / 'Images' / f'{stem}.jpg', parsed.image, parsed.quality)
    humans = np.zeros_like(parsed.labels)
    for person, labels in parsed.people.items():
        humans[labels > 0] = person
    # Every part of every person, counted from 1.
    pairs = humans.astype(np.int32) * len(CIHP_LABELS) + parsed.labels
    instances = np.searchsorted(np.unique([0, *pairs.flat]), pairs).astype(np.uint8)
    for name, values in (
        ('Category', parsed.labels),
        ('Human', humans),
        ('Instance', instances),
    ):
        save_labels(root / f'{name}_ids' / f'{stem}.png', values)
        plural = 'Categories' if name == 'Category' else f'{name}s'
        folder = 'Human' if name == 'Human' else plural
        save_labels(root / folder / f'{stem}.png', palette(256)[values])
    return stem


def save_labels(path: Path, labels: np.ndarray) -> None:
    """Write an (h, w) map or (h, w, 3) picture as PNG, and the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(labels))


def _stem(number: int) -> str:
    return f'{number:07d}'
