"""PETA: crops, and the zero-shot split of 35 attributes that the PAR baseline publishes."""

from __future__ import annotations

import pickle

import numpy as np

from ..person import Color
from ..scene.appearance import Appearance
from ..scene.captions import color_word
from ..sheet import Card
from .base import APART, Job, Splits, native
from .portraits import draw_portrait, spread_identities

_SHOTS = 2
ZERO_SHOT = 'dataset_zs_run0.pkl'
SIZES = {'tiny': Splits(24, 8, 8, (96, 128)), 'small': Splits(540, 180, 180, (110, 180))}
_COLORS: dict[str, Color] = {
    'black': (36, 36, 40), 'blue': (56, 84, 150), 'brown': (112, 80, 56),
    'green': (70, 112, 70), 'gray': (128, 130, 134), 'orange': (220, 130, 50),
    'pink': (208, 140, 158), 'purple': (112, 60, 130), 'red': (176, 46, 50),
    'white': (224, 222, 218), 'yellow': (212, 176, 62),
}  # fmt: skip


class EasyDict(dict):
    """Stands for the class of that name, of which the public split file is made."""


@native('peta', SIZES)
def write_peta(job: Job[Splits]) -> list[Card]:
    """Write ``images/*.png`` and ``dataset_zs_run0.pkl``; nobody is in two splits."""
    counts = job.spec.counts()
    people = spread_identities(sum(counts.values()), _SHOTS, 2 * APART)
    rows = job.map(_draw, [(number + 1, *person) for number, person in enumerate(people)])
    first, second = counts['train'], counts['train'] + counts['val']
    order = np.arange(len(rows))
    split = {
        'train': order[:first],
        'val': order[first:second],
        'trainval': order[:second],
        'test': order[second:],
    }
    (job.root / ZERO_SHOT).write_bytes(_pickled(rows, split))
    return [
        Card(f'images/{_name(number + 1)}', [name for name, is_so in row.items() if is_so])
        for number, row in enumerate(rows[:12])
    ]


def _draw(job: Job[Splits], item: tuple[int, int, int]) -> dict[str, bool]:
    number, identity, shot = item
    portrait = draw_portrait(job.seed, identity, shot, job.spec.size)
    job.save(f'images/{_name(number)}', portrait.image)
    return peta_attributes(Appearance(portrait, portrait.main))


def _name(number: int) -> str:
    return f'{number:05d}.png'


def _pickled(rows: list[dict[str, bool]], split: dict[str, np.ndarray]) -> bytes:
    """Return the split file: a pickle of an ``easydict.EasyDict``, as it is published."""
    labels = np.array([list(row.values()) for row in rows], np.int64, order='F')
    document = {
        'description': 'peta',
        'reorder': 'group_order',
        'root': 'images',
        'image_name': [_name(number + 1) for number in range(len(rows))],
        'label': labels,
        'attr_name': list(rows[0]),
        'partition': EasyDict(split),
        'weight_train': [labels[split['train']].mean(0).astype(np.float32)],
        'weight_trainval': [labels[split['trainval']].mean(0).astype(np.float32)],
    }
    # Protocol 2 names classes in plain text, so the name can be that of the other package
    # without needing it.
    data = pickle.dumps(EasyDict(document), protocol=2)
    return data.replace(f'c{__name__}\nEasyDict\n'.encode(), b'ceasydict\nEasyDict\n')


def peta_attributes(appearance: Appearance) -> dict[str, bool]:
    """Return the 35 evaluated attributes of somebody, in the order of the split file."""
    person, upper, pattern = (
        appearance.character.person,
        appearance.upper,
        appearance.upper_pattern,
    )
    age = appearance.character.age
    lower = person.upper.color if upper == 'dress' else person.lower.color
    color, shoes = color_word(lower, _COLORS), color_word(person.shoes, _COLORS)
    dressy = upper == 'coat' or (upper == 'shirt' and pattern == 'plain')
    trousers = appearance.legs and appearance.lower == 'trousers'
    formal = trousers and person.lower.pattern == 'plain' and color == 'black'
    jacket = appearance.trunk and upper in ('jacket', 'coat')
    plain_feet = appearance.feet and not appearance.boots
    return {
        'accessoryHat': appearance.hat,
        'accessoryMuffler': appearance.scarf,
        'accessoryNothing': not (appearance.hat or appearance.scarf or appearance.sunglasses),
        'accessorySunglasses': appearance.sunglasses,
        'hairLong': person.hair.style in ('long', 'bun'),
        'upperBodyCasual': appearance.trunk and not dressy,
        'upperBodyFormal': appearance.trunk and dressy,
        'upperBodyJacket': jacket,
        'upperBodyLogo': appearance.trunk and appearance.logo,
        'upperBodyPlaid': pattern == 'checks',
        'upperBodyShortSleeve': appearance.trunk and appearance.short_sleeve,
        'upperBodyThinStripes': pattern == 'stripes',
        'upperBodyTshirt': appearance.trunk and upper == 'tshirt',
        'upperBodyOther': appearance.trunk and upper in ('shirt', 'hoodie', 'dress'),
        'upperBodyVNeck': jacket and appearance.facing > 0.35,
        'lowerBodyCasual': appearance.legs and not formal,
        'lowerBodyFormal': formal,
        'lowerBodyJeans': trousers and color == 'blue',
        'lowerBodyShorts': appearance.legs and appearance.lower == 'shorts',
        'lowerBodyShortSkirt': appearance.legs and appearance.lower in ('skirt', 'dress'),
        'lowerBodyTrousers': trousers and color != 'blue',
        'footwearLeatherShoes': plain_feet and shoes == 'black',
        'footwearSandals': False,
        'footwearShoes': plain_feet and shoes not in ('black', 'white', 'red', 'blue'),
        'footwearSneaker': plain_feet and shoes in ('white', 'red', 'blue'),
        'carryingBackpack': appearance.bag == 'backpack',
        'carryingOther': appearance.held,
        'carryingMessengerBag': appearance.bag == 'shoulder',
        'carryingNothing': appearance.bag == 'none' and not appearance.held,
        'carryingPlasticBags': appearance.bag == 'handbag',
        'personalLess30': 15 <= age < 31,
        'personalLess45': 31 <= age < 46,
        'personalLess60': 46 <= age < 61,
        'personalLarger60': age >= 61,
        'personalMale': not appearance.character.female,
    }
