"""The names of what is drawn, and the label each has in a part map of LIP.

Every pixel of a scene remembers which part of whom was drawn there last; masks, part maps,
boxes and visibilities are all read from that one map.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .character import Character

SIDES = ('', 'l', 'r')
NAMES = (
    'neck',
    'collar',
    'inner',
    'upper',
    'tail',
    'hood',
    'skirt',
    'seat',
    'face',
    'scalp',
    'cap',
    'glasses',
    'sunglasses',
    'hair',
    'hat',
    'nose',
    'ear',
    'scarf',
    'shoe',
    'boot',
    'sock',
    'leg',
    'lower',
    'palm',
    'finger',
    'arm',
    'bag',
    'held',
)
# Things that a person carries: they hide the body but do not belong to it.
BELONGINGS = ('bag', 'held')
HEAD = ('face', 'scalp', 'cap', 'glasses', 'sunglasses', 'hair', 'hat', 'nose', 'ear', 'skull')
ANIMAL_NAMES = ('trunk', 'nape', 'skull', 'auricle', 'tail_hair', 'foreleg', 'hindleg')
# Owners are numbered person * CODES + code; 0 is nobody's.
CODES = 128

LIP_LABELS = (
    'Background',
    'Hat',
    'Hair',
    'Glove',
    'Sunglasses',
    'Upper-clothes',
    'Dress',
    'Coat',
    'Socks',
    'Pants',
    'Jumpsuits',
    'Scarf',
    'Skirt',
    'Face',
    'Left-arm',
    'Right-arm',
    'Left-leg',
    'Right-leg',
    'Left-shoe',
    'Right-shoe',
)
# CIHP names the same labels except the tenth.
CIHP_LABELS = (
    'background', 'hat', 'hair', 'glove', 'sunglasses', 'upperclothes', 'dress', 'coat', 'socks',
    'pants', 'torsoSkin', 'scarf', 'skirt', 'face', 'leftArm', 'rightArm', 'leftLeg', 'rightLeg',
    'leftShoe', 'rightShoe',
)  # fmt: skip
LIP = {name: number for number, name in enumerate(LIP_LABELS)}
_FIXED = {
    'neck': 'Face',
    'collar': 'Face',
    'inner': 'Upper-clothes',
    'seat': 'Pants',
    'face': 'Face',
    'scalp': 'Hair',
    'cap': 'Hat',
    'glasses': 'Face',
    'sunglasses': 'Sunglasses',
    'hair': 'Hair',
    'hat': 'Hat',
    'nose': 'Face',
    'ear': 'Face',
    'scarf': 'Scarf',
    'sock': 'Socks',
    'lower': 'Pants',
    'bag': 'Background',
    'held': 'Background',
}
_SIDED = {'shoe': 'shoe', 'boot': 'shoe', 'leg': 'leg', 'arm': 'arm'}


@lru_cache(maxsize=256)
def code(name: str, side: str = '') -> int:
    """Return the number of a part; 0 is none."""
    return 1 + (NAMES + ANIMAL_NAMES).index(name) * len(SIDES) + SIDES.index(side)


def codes(*names: str, sides: tuple[str, ...] = SIDES) -> frozenset[int]:
    """Return the numbers of several parts."""
    return frozenset(code(name, side) for name in names for side in sides)


def lip_table(character: Character) -> np.ndarray:
    """Return the LIP label of every part of one person, (CODES,) uint8."""
    table = np.zeros(CODES, np.uint8)
    for name in NAMES:
        for side in SIDES:
            table[code(name, side)] = LIP[_lip_name(character, name, side)]
    return table


def cihp_table(character: Character) -> np.ndarray:
    """Return the CIHP label of every part of one person, (CODES,) uint8."""
    table = lip_table(character)
    table[sorted(codes('neck', 'collar'))] = CIHP_LABELS.index('torsoSkin')
    return table


def _lip_name(character: Character, name: str, side: str) -> str:
    upper = character.person.upper.kind
    if name in _FIXED:
        return _FIXED[name]
    if name in ('upper', 'tail', 'hood'):
        return {'jacket': 'Coat', 'coat': 'Coat', 'dress': 'Dress'}.get(upper, 'Upper-clothes')
    if name == 'skirt':
        return 'Dress' if upper == 'dress' else 'Skirt'
    if name in ('palm', 'finger') and character.gloves is not None:
        return 'Glove'
    word = _SIDED.get(name, 'arm')
    return f'{"Right" if side == "r" else "Left"}-{word}'
