"""CIHP: scenes of several people with 20 labels of parts, in both published layouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..scene.appearance import Appearance
from ..scene.parts import CIHP_LABELS, cihp_table
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import box_of, render_scene
from ..sheet import BLUE, Card, palette
from .base import APART, Job, Splits, draw_splits, native
from .coco_format import LEAST_AREA, individuals, numbered, polygons, xywh

CROWDING = Crowding((2, 5), (0.35, 0.9), huddle=0.5)
SIZES = {'tiny': Splits(8, 6, 0, (160, 224)), 'small': Splits(300, 80, 0, (256, 352))}
RAW_SPLITS = {'train': 'Training', 'val': 'Validation'}
# Files of every split are counted from 1.
_FIRST = 4 * APART + 1
_FILES = APART // 4


@dataclass(frozen=True)
class Parsed:
    """A scene with a map of labels for each of its people.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        quality: of its JPEG file.
        people: id of a person -> (h, w) uint8 of ``CIHP_LABELS``. Ids begin with 1; they
            have gaps where somebody is hidden, and in every third scene after the first.
    """

    image: np.ndarray
    quality: int
    people: dict[int, np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """Labels of all people, (h, w) uint8."""
        return sum(self.people.values(), np.zeros(self.image.shape[:2], np.uint8))


def draw_parsed(job: Job[Splits], number: int) -> Parsed:
    """Draw a scene; both layouts hold the same."""
    annotated = render_scene(plan_crowd(job.seed, number, job.spec.size, CROWDING))
    gap = 2 if number % _FILES % 3 == 0 else 0
    people = {}
    for person, *_ in individuals(annotated, LEAST_AREA):
        table = cihp_table(Appearance(annotated, person).character)
        people[person + 1 + (gap if person else 0)] = annotated.parts(person, table)
    return Parsed(annotated.image, annotated.quality, people)


@native('cihp', SIZES)
def write_cihp(job: Job[Splits]) -> list[Card]:
    """Write ``{train,val}_{img,parsing,seg}`` and ``annotations/CIHP_{train,val}.json``.

    This is the layout of Parsing R-CNN: one file of labels for every person.
    """
    cards = []
    for split, found in draw_splits(job, _draw, _FIRST):
        images, rows = numbered(found)
        document = {
            'info': {'description': 'Synthetic persons, CIHP'},
            'images': images,
            'annotations': rows,
            'categories': [
                {'id': 1, 'name': 'person', 'supercategory': '', 'parsing': list(CIHP_LABELS)}
            ],
        }
        job.save_json(f'annotations/CIHP_{split}.json', document)
        cards += [_card(split, *one) for one in found[:6]]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> tuple[dict, list[dict]]:
    split, number = item[0], item[1] % _FILES
    parsed, stem = draw_parsed(job, item[1]), _stem(number)
    job.save(f'{split}_img/{stem}.jpg', parsed.image, parsed.quality)
    job.save(f'{split}_seg/{stem}.png', parsed.labels)
    height, width = job.spec.size
    image = {'id': number, 'file_name': f'{stem}.jpg', 'height': height, 'width': width}
    rows = []
    for person, labels in parsed.people.items():
        name, box = f'{stem}-{person}.png', box_of(labels > 0)
        assert box is not None
        job.save(f'{split}_parsing/{name}', labels)
        rows.append({
            'image_id': number,
            'category_id': 1,
            'bbox': xywh(box),
            'area': int((labels > 0).sum()),
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
    """Write ``Training`` and ``Validation`` with ``Images``, three maps, in gray and in colors.

    This is the layout of the download, of the same scenes as ``write_cihp``: ``Category_ids``,
    ``Human_ids`` and ``Instance_ids`` are gray, the folders without ``_ids`` hold them in colors.
    """
    cards = []
    for split, stems in draw_splits(job, _draw_raw, _FIRST):
        folder = RAW_SPLITS[split]
        text = ''.join(f'{stem}\n' for stem in stems)
        (job.root / folder / f'{split}_id.txt').write_text(text, encoding='utf-8')
        for stem in stems[:6]:
            maps = f'{folder}/Category_ids/{stem}.png'
            card = Card(f'{folder}/Images/{stem}.jpg', labels=maps, names=CIHP_LABELS)
            cards.append(card)
    return cards


def _draw_raw(job: Job[Splits], item: tuple[str, int]) -> str:
    folder, stem = RAW_SPLITS[item[0]], _stem(item[1] % _FILES)
    parsed = draw_parsed(job, item[1])
    job.save(f'{folder}/Images/{stem}.jpg', parsed.image, parsed.quality)
    humans = np.zeros_like(parsed.labels)
    for person, labels in parsed.people.items():
        humans[labels > 0] = person
    # Every part of every person, counted from 1.
    pairs = humans.astype(np.int32) * len(CIHP_LABELS) + parsed.labels
    instances = np.searchsorted(np.unique([0, *pairs.flat]), pairs).astype(np.uint8)
    for ids, subfolder, values in (
        ('Category_ids', 'Categories', parsed.labels),
        ('Human_ids', 'Human', humans),
        ('Instance_ids', 'Instances', instances),
    ):
        job.save(f'{folder}/{ids}/{stem}.png', values)
        job.save(f'{folder}/{subfolder}/{stem}.png', palette(256)[values])
    return stem


def _stem(number: int) -> str:
    return f'{number:07d}'
