"""CUHK-PEDES and ICFG-PEDES: crops of persons with captions in plain English."""

from __future__ import annotations

import re

from ..scene.appearance import Appearance
from ..scene.captions import captions
from ..sheet import Card
from .base import APART, Job, Splits, native
from .portraits import draw_portrait

_SHOTS = 3
_CUHK, _ICFG = 4 * APART, 5 * APART
SIZES_CUHK = {'tiny': Splits(24, 6, 12, (96, 128)), 'small': Splits(600, 90, 180, (110, 180))}
SIZES_ICFG = {'tiny': Splits(24, 0, 12, (96, 128)), 'small': Splits(600, 0, 180, (110, 180))}
# Split, number of the person and of the image.
Shot = tuple[str, int, int]


@native('cuhk_pedes', SIZES_CUHK)
def write_cuhk_pedes(job: Job[Splits]) -> list[Card]:
    """Write ``imgs/*_query/*.jpg`` and ``reid_raw.json``: ids from 1, two captions an image."""
    rows = job.map(_draw_cuhk, list_shots(job.spec))
    job.save_json('reid_raw.json', rows)
    return _cards(rows)


@native('icfg_pedes', SIZES_ICFG)
def write_icfg_pedes(job: Job[Splits]) -> list[Card]:
    """Write ``imgs/{train,test}`` and ``ICFG-PEDES.json``: ids from 0, one caption an image."""
    rows = job.map(_draw_icfg, list_shots(job.spec))
    job.save_json('ICFG-PEDES.json', rows)
    return _cards(rows)


def list_shots(spec: Splits) -> list[Shot]:
    """Return all images; persons are counted from 0, on from split to split."""
    shots, first = [], 0
    for split, count in spec.counts().items():
        shots += [(split, first + n // _SHOTS, n % _SHOTS) for n in range(count)]
        first += -(-count // _SHOTS)
    return shots


def _draw_cuhk(job: Job[Splits], item: Shot) -> dict:
    split, person, shot = item
    folder = 'test_query' if split == 'test' else 'train_query'
    path = f'{folder}/p{person + 1:04d}_s{_SHOTS * person + shot + 1:05d}.jpg'
    return _draw(job, item, path, _CUHK, 2) | {'id': person + 1}


def _draw_icfg(job: Job[Splits], item: Shot) -> dict:
    split, person, shot = item
    name = f'{person:04d}_{shot:03d}_{shot + 1:02d}_0303morning_{100 + 40 * shot:04d}_0.jpg'
    return _draw(job, item, f'{split}/{person:04d}/{name}', _ICFG, 1) | {'id': person}


def _draw(job: Job[Splits], item: Shot, path: str, first: int, count: int) -> dict:
    split, person, shot = item
    portrait = draw_portrait(job.seed, first + person, shot, job.spec.size)
    job.save(f'imgs/{path}', portrait.image, portrait.quality)
    appearance = Appearance(portrait, portrait.main)
    texts = captions(appearance, (job.seed, first + person, shot), count)
    return {
        'split': split,
        'captions': texts,
        'file_path': path,
        'processed_tokens': [re.findall(r"[a-z0-9'-]+", text.lower()) for text in texts],
    }


def _cards(rows: list[dict]) -> list[Card]:
    """The first persons of training, and of the test."""
    chosen = rows[:9] + [row for row in rows if row['split'] == 'test'][:6]
    return [Card(f'imgs/{r["file_path"]}', [f'id {r["id"]}', *r['captions']]) for r in chosen]
