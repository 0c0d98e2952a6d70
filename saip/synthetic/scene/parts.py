"""The names of what is drawn, and the label each has in a part map of LIP or CIHP.

Every pixel of a scene remembers which part of whom was drawn there last; masks, part maps,
boxes and visibilities are all read from that one map.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .character import Character

SIDES = ('', 'l', 'r')
NAMES = (
    'neck', 'collar', 'inner', 'upper', 'tail', 'hood', 'skirt', 'seat', 'face', 'scalp', 'cap',
    'glasses', 'sunglasses', 'hair', 'hat', 'nose', 'ear', 'scarf', 'shoe', 'boot', 'sock', 'leg',
    'lower', 'palm', 'finger', 'arm', 'bag', 'held',
    # Of animals.
    'trunk', 'nape', 'skull', 'auricle', 'tail_hair', 'foreleg', 'hindleg',
)  # fmt: skip
# Things that a person carries: they hide the body but do not belong to it.
BELONGINGS = ('bag', 'held')
HEAD = ('face', 'scalp', 'cap', 'glasses', 'sunglasses', 'hair', 'hat', 'nose', 'ear', 'skull')
# Owners are numbered person * CODES + code; 0 is nobody's.
CODES = 128

LIP_LABELS = (
    'Background', 'Hat', 'Hair', 'Glove', 'Sunglasses', 'Upper-clothes', 'Dress', 'Coat', 'Socks',
    'Pants', 'Jumpsuits', 'Scarf', 'Skirt', 'Face', 'Left-arm', 'Right-arm', 'Left-leg',
    'Right-leg', 'Left-shoe', 'Right-shoe',
)  # fmt: skip
# CIHP names the same labels except the tenth.
CIHP_LABELS = (
    'background', 'hat', 'hair', 'glove', 'sunglasses', 'upperclothes', 'dress', 'coat', 'socks',
    'pants', 'torsoSkin', 'scarf', 'skirt', 'face', 'leftArm', 'rightArm', 'leftLeg', 'rightLeg',
    'leftShoe', 'rightShoe',
)  # fmt: skip
LIP = {name: number for number, name in enumerate(LIP_LABELS)}
_FIXED = {
    'Background': BELONGINGS,
    'Hat': ('cap', 'hat'),
    'Hair': ('scalp', 'hair'),
    'Sunglasses': ('sunglasses',),
    'Upper-clothes': ('inner',),
    'Socks': ('sock',),
    'Pants': ('seat', 'lower'),
    'Scarf': ('scarf',),
    'Face': ('neck', 'collar', 'face', 'glasses', 'nose', 'ear'),
}


@lru_cache(maxsize=256)
def code(name: str, side: str = '') -> int:
    """Return the number of a part; 0 is none."""
    return 1 + NAMES.index(name) * len(SIDES) + SIDES.index(side)


def codes(*names: str, sides: tuple[str, ...] = SIDES) -> frozenset[int]:
    """Return the numbers of several parts."""
    return frozenset(code(name, side) for name in names for side in sides)


def lip_table(character: Character) -> np.ndarray:
    """Return the LIP label of every part of one person, (CODES,) uint8."""
    kind = character.person.upper.kind
    trunk = {'jacket': 'Coat', 'coat': 'Coat', 'dress': 'Dress'}.get(kind, 'Upper-clothes')
    labels = {**_FIXED, 'Dress' if kind == 'dress' else 'Skirt': ('skirt',)}
    labels[trunk] = (*labels.get(trunk, ()), 'upper', 'tail', 'hood')
    table = np.zeros(CODES, np.uint8)
    for label, names in labels.items():
        table[sorted(codes(*names))] = LIP[label]
    for side, word in (('', 'Left'), ('l', 'Left'), ('r', 'Right')):
        for limb, names in (
            ('arm', ('arm', 'palm', 'finger')),
            ('leg', ('leg',)),
            ('shoe', ('shoe', 'boot')),
        ):
            table[sorted(codes(*names, sides=(side,)))] = LIP[f'{word}-{limb}']
    if character.gloves is not None:
        table[sorted(codes('palm', 'finger'))] = LIP['Glove']
    return table


def cihp_table(character: Character) -> np.ndarray:
    """Return the CIHP label of every part of one person, (CODES,) uint8."""
    table = lip_table(character)
    table[sorted(codes('neck', 'collar'))] = CIHP_LABELS.index('torsoSkin')
    return table
