"""Tiny sets of described people, in exactly the published layouts, and captions."""

import json
from pathlib import Path

import cv2
import numpy as np

WORDS = ('red', 'blue', 'green', 'white', 'black', 'grey')
GARMENTS = ('coat', 'shirt', 'jacket', 'sweater', 'dress', 'hoodie')
CARRIED = ('a bag', 'an umbrella', "somebody's suitcase", 'nothing', '2 books')


def caption(person: int, variant: int = 0) -> str:
    """A text about a person; persons differ, variants of one person in the words around."""
    top, lower = WORDS[person % 6], WORDS[(person // 6) % 6]
    garment, carried = GARMENTS[person % 5], CARRIED[person % 5]
    begin = ('A person in', 'This pedestrian wears', 'Somebody has')[variant % 3]
    return f'{begin} a {top} {garment}, {lower} trousers and carries {carried}.'


def draw(path: Path, person: int) -> None:
    """A noisy image whose upper half has a color of its own for each person."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    image = rng.integers(0, 60, (48, 16, 3)).astype(np.uint8)
    image[:24] += np.random.default_rng(person).integers(0, 190, 3).astype(np.uint8)
    cv2.imwrite(str(path), image)


def entry(split: str, person: int, shot: int, texts: int, folder: str) -> dict:
    captions = [caption(person, shot + text) for text in range(texts)]
    return dict(
        split=split,
        captions=captions,
        file_path=f'{folder}/{person:04d}_{shot}.png',
        processed_tokens=[text.lower().split() for text in captions],
        id=person,
    )


def cuhk_entries(people: int = 4, shots: int = 3) -> list[dict]:
    """``people`` to train, two to validate, two to test; ids count from 1."""
    splits = ['train'] * people + ['val'] * 2 + ['test'] * 2
    return [
        entry(split, number, shot, 2, 'CUHK01')
        for number, split in enumerate(splits, 1)
        for shot in range(shots)
    ]


def icfg_entries(people: int = 4, shots: int = 3) -> list[dict]:
    """``people`` to train, three to test; ids count from 0, one caption of each image."""
    splits = ['train'] * people + ['test'] * 3
    return [
        entry(split, number, shot, 1, f'{split}/{number:04d}')
        for number, split in enumerate(splits)
        for shot in range(shots)
    ]


def write(root: Path, entries: list[dict], name: str) -> Path:
    """Write annotations and images."""
    for image in entries:
        draw(root / 'imgs' / image['file_path'], image['id'])
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(entries))
    return root


def write_cuhk(root: Path, **options: int) -> Path:
    return write(root, cuhk_entries(**options), 'reid_raw.json')


def write_icfg(root: Path, name: str = 'ICFG-PEDES.json', **options: int) -> Path:
    return write(root, icfg_entries(**options), name)
