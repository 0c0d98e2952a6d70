"""Attributes of a person in the words of PETA."""

from __future__ import annotations

import numpy as np

from ..person import Color
from .actor import Actor
from .attributes import Attributes
from .render import Rendered

_COLORS: dict[str, Color] = {
    'Black': (36, 36, 40),
    'Blue': (56, 84, 150),
    'Brown': (112, 80, 56),
    'Green': (70, 112, 70),
    'Gray': (128, 130, 134),
    'Orange': (220, 130, 50),
    'Pink': (208, 140, 158),
    'Purple': (112, 60, 130),
    'Red': (176, 46, 50),
    'White': (224, 222, 218),
    'Yellow': (212, 176, 62),
}
# The first 35 are those that are evaluated, then colors, then the rest, as in PETA.mat.
PETA_EVALUATED = (
    'personalLess30',
    'personalLess45',
    'personalLess60',
    'personalLarger60',
    'carryingBackpack',
    'carryingOther',
    'lowerBodyCasual',
    'upperBodyCasual',
    'lowerBodyFormal',
    'upperBodyFormal',
    'accessoryHat',
    'upperBodyJacket',
    'lowerBodyJeans',
    'footwearLeatherShoes',
    'upperBodyLogo',
    'hairLong',
    'personalMale',
    'carryingMessengerBag',
    'accessoryMuffler',
    'accessoryNothing',
    'carryingNothing',
    'upperBodyPlaid',
    'carryingPlasticBags',
    'footwearSandals',
    'footwearShoes',
    'lowerBodyShorts',
    'upperBodyShortSleeve',
    'lowerBodyShortSkirt',
    'footwearSneaker',
    'upperBodyThinStripes',
    'accessorySunglasses',
    'lowerBodyTrousers',
    'upperBodyTshirt',
    'upperBodyOther',
    'upperBodyVNeck',
)
_PETA_REST = (
    'accessoryHeadphone',
    'personalLess15',
    'carryingBabyBuggy',
    'hairBald',
    'footwearBoots',
    'lowerBodyCapri',
    'carryingShoppingTro',
    'carryingUmbrella',
    'personalFemale',
    'carryingFolder',
    'accessoryHairBand',
    'lowerBodyHotPants',
    'accessoryKerchief',
    'lowerBodyLongSkirt',
    'upperBodyLongSleeve',
    'lowerBodyPlaid',
    'lowerBodyThinStripes',
    'carryingLuggageCase',
    'upperBodyNoSleeve',
    'hairShort',
    'footwearStocking',
    'upperBodySuit',
    'carryingSuitcase',
    'lowerBodySuits',
    'upperBodySweater',
    'upperBodyThickStripes',
)
PETA_ATTRIBUTES = (
    *PETA_EVALUATED,
    *(f'{part}{name}' for part in ('upperBody', 'lowerBody', 'hair', 'footwear')
      for name in _COLORS),
    *_PETA_REST,
)  # fmt: skip


def peta_attributes(rendered: Rendered, number: int, actor: Actor) -> np.ndarray:
    """Return the 105 attributes of an actor, (105,) uint8 of 0 and 1."""
    look = Attributes(rendered, number, actor)
    true = _peta_person(look) | _peta_garments(look)
    person = look.character.person
    colors = (
        ('upperBody', look.trunk, person.upper.color),
        ('lowerBody', look.legs, _lower_color(look)),
        ('hair', look.hair, person.hair.color),
        ('footwear', look.feet, person.shoes),
    )
    true |= {f'{part}{_name(color)}' for part, seen, color in colors if seen}
    unknown = sorted(true - set(PETA_ATTRIBUTES))
    if unknown:
        raise ValueError(f'no attributes of PETA: {unknown}')
    return np.array([name in true for name in PETA_ATTRIBUTES], np.uint8)


def _peta_person(look: Attributes) -> set[str]:
    """Age, sex, hair, accessories and what is carried."""
    age, hair = look.character.age, look.character.person.hair.style
    ages = ((15, 'Less15'), (31, 'Less30'), (46, 'Less45'), (61, 'Less60'), (200, 'Larger60'))
    accessories = {
        'accessoryHat': look.hat,
        'accessoryMuffler': look.scarf,
        'accessorySunglasses': look.sunglasses,
    }
    carried = {
        'carryingBackpack': look.bag == 'backpack',
        'carryingMessengerBag': look.bag == 'shoulder',
        'carryingPlasticBags': look.bag == 'handbag',
        'carryingOther': look.held,
    }
    true = {
        'personal' + next(name for limit, name in ages if age < limit),
        'personalFemale' if look.character.female else 'personalMale',
        {'bald': 'hairBald', 'long': 'hairLong', 'bun': 'hairLong'}.get(hair, 'hairShort'),
    }
    for group, nothing in ((accessories, 'accessoryNothing'), (carried, 'carryingNothing')):
        true |= {name for name, seen in group.items() if seen} or {nothing}
    return true


def _peta_garments(look: Attributes) -> set[str]:
    person, true = look.character.person, set()
    pattern = person.upper.pattern
    if look.trunk:
        formal = look.upper == 'coat' or (look.upper == 'shirt' and pattern == 'plain')
        kinds = {'jacket': 'Jacket', 'coat': 'Jacket', 'tshirt': 'Tshirt', 'vest': 'NoSleeve'}
        true |= {
            'upperBodyFormal' if formal else 'upperBodyCasual',
            'upperBodyShortSleeve' if look.short_sleeve else 'upperBodyLongSleeve',
            'upperBody' + kinds.get(look.upper, 'Other'),
        }
        patterns = {'checks': 'Plaid', 'stripes': 'ThinStripes', 'bars': 'ThickStripes'}
        if pattern in patterns:
            true.add('upperBody' + patterns[pattern])
        if pattern == 'logo' and look.logo:
            true.add('upperBodyLogo')
        if look.upper in ('jacket', 'coat') and look.facing > 0.35:
            true.add('upperBodyVNeck')
    if look.legs:
        color = _name(_lower_color(look))
        formal = (
            look.lower == 'trousers' and person.lower.pattern == 'plain' and color == 'Black'
        )
        true.add('lowerBodyFormal' if formal else 'lowerBodyCasual')
        jeans = look.lower == 'trousers' and color == 'Blue'
        words = {'shorts': 'Shorts', 'skirt': 'ShortSkirt', 'dress': 'ShortSkirt'}
        true.add('lowerBodyJeans' if jeans else 'lowerBody' + words.get(look.lower, 'Trousers'))
        if person.lower.pattern == 'checks' and look.lower != 'dress':
            true.add('lowerBodyPlaid')
    if look.feet:
        shoes = {
            'Black': 'LeatherShoes',
            'White': 'Sneaker',
            'Red': 'Sneaker',
            'Blue': 'Sneaker',
        }
        kind = 'Boots' if look.boots else shoes.get(_name(person.shoes), 'Shoes')
        true.add('footwear' + kind)
    return true


def _lower_color(look: Attributes) -> Color:
    person = look.character.person
    return person.upper.color if look.lower == 'dress' else person.lower.color


def _name(color: Color) -> str:
    """Return the named color nearest to a color."""

    def distance(name: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(color, _COLORS[name], strict=True))

    return min(_COLORS, key=distance)
