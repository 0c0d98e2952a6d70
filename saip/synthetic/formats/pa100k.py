"""PA100K: crops in one folder and a MATLAB file with 26 attributes."""

from __future__ import annotations

import numpy as np

from ..scene.appearance import Appearance
from ..scene.character import ADULT, OLD
from ..sheet import Card
from .base import APART, Job, Splits, native
from .matfile import cell, save_mat
from .portraits import draw_portrait, spread_identities

_SHOTS = 2
SIZES = {'tiny': Splits(24, 8, 12, (96, 128)), 'small': Splits(900, 150, 300, (110, 180))}


@native('pa100k', SIZES)
def write_pa100k(job: Job[Splits]) -> list[Card]:
    """Write ``data/*.jpg`` and ``annotation.mat``; splits share no identity."""
    people: list[tuple[int, int]] = []
    for number, count in enumerate(job.spec.counts().values()):
        people += spread_identities(count, _SHOTS, APART + number * APART // 4)
    rows = job.map(_draw, [(number + 1, *person) for number, person in enumerate(people)])
    content: dict[str, np.ndarray] = {'attributes': cell(list(rows[0]))}
    first = 0
    for split, count in job.spec.counts().items():
        numbers = range(first, first + count)
        content[f'{split}_images_name'] = cell([_name(number + 1) for number in numbers])
        labels = [list(rows[number].values()) for number in numbers]
        content[f'{split}_label'] = np.array(labels, np.uint8)
        first += count
    save_mat(job.root / 'annotation.mat', content)
    return [
        Card(f'data/{_name(number + 1)}', [name for name, is_so in row.items() if is_so])
        for number, row in enumerate(rows[:12])
    ]


def _draw(job: Job[Splits], item: tuple[int, int, int]) -> dict[str, bool]:
    number, identity, shot = item
    portrait = draw_portrait(job.seed, identity, shot, job.spec.size)
    job.save(f'data/{_name(number)}', portrait.image, portrait.quality)
    return pa100k_attributes(Appearance(portrait, portrait.main))


def _name(number: int) -> str:
    return f'{number:06d}.jpg'


def pa100k_attributes(appearance: Appearance) -> dict[str, bool]:
    """Return the 26 attributes of somebody, in PA100K's words and order."""
    age, side = appearance.character.age, abs(appearance.facing) < 0.5
    return {
        'Female': appearance.character.female,
        'AgeOver60': age >= OLD,
        'Age18-60': ADULT <= age < OLD,
        'AgeLess18': age < ADULT,
        'Front': not side and appearance.facing > 0,
        'Side': side,
        'Back': not side and appearance.facing < 0,
        'Hat': appearance.hat,
        'Glasses': appearance.glasses or appearance.sunglasses,
        'HandBag': appearance.bag == 'handbag',
        'ShoulderBag': appearance.bag == 'shoulder',
        'Backpack': appearance.bag == 'backpack',
        'HoldObjectsInFront': appearance.held,
        'ShortSleeve': appearance.trunk and appearance.short_sleeve,
        'LongSleeve': appearance.trunk and not appearance.short_sleeve,
        'UpperStride': appearance.upper_pattern in ('stripes', 'bars'),
        'UpperLogo': appearance.trunk and appearance.logo,
        'UpperPlaid': appearance.upper_pattern == 'checks',
        'UpperSplice': appearance.upper_pattern == 'block',
        'LowerStripe': appearance.lower_pattern in ('stripes', 'bars', 'seam'),
        'LowerPattern': appearance.lower_pattern == 'checks',
        'LongCoat': appearance.trunk and appearance.upper == 'coat',
        'Trousers': appearance.legs and appearance.lower == 'trousers',
        'Shorts': appearance.legs and appearance.lower == 'shorts',
        'Skirt&Dress': appearance.legs and appearance.lower in ('skirt', 'dress'),
        'boots': appearance.boots,
    }
