"""Attributes of a person in the words of PA100K."""

from __future__ import annotations

import numpy as np

from .actor import Actor
from .attributes import Attributes
from .character import ADULT, OLD
from .render import Rendered

PA100K_ATTRIBUTES = (
    'Female',
    'AgeOver60',
    'Age18-60',
    'AgeLess18',
    'Front',
    'Side',
    'Back',
    'Hat',
    'Glasses',
    'HandBag',
    'ShoulderBag',
    'Backpack',
    'HoldObjectsInFront',
    'ShortSleeve',
    'LongSleeve',
    'UpperStride',
    'UpperLogo',
    'UpperPlaid',
    'UpperSplice',
    'LowerStripe',
    'LowerPattern',
    'LongCoat',
    'Trousers',
    'Shorts',
    'Skirt&Dress',
    'boots',
)


def pa100k_attributes(rendered: Rendered, number: int, actor: Actor) -> np.ndarray:
    """Return the 26 attributes of an actor, (26,) uint8 of 0 and 1."""
    look = Attributes(rendered, number, actor)
    person, age = actor.character.person, actor.character.age
    pattern = person.upper.pattern if look.trunk else ''
    below = person.upper.pattern if look.lower == 'dress' else person.lower.pattern
    below = below if look.legs else ''
    side = abs(look.facing) < 0.5
    true = {
        'Female': actor.character.female,
        'AgeOver60': age >= OLD,
        'Age18-60': ADULT <= age < OLD,
        'AgeLess18': age < ADULT,
        'Front': not side and look.facing > 0,
        'Side': side,
        'Back': not side and look.facing < 0,
        'Hat': look.hat,
        'Glasses': look.glasses or look.sunglasses,
        'HandBag': look.bag == 'handbag',
        'ShoulderBag': look.bag == 'shoulder',
        'Backpack': look.bag == 'backpack',
        'HoldObjectsInFront': look.held,
        'ShortSleeve': look.trunk and look.short_sleeve,
        'LongSleeve': look.trunk and not look.short_sleeve,
        'UpperStride': pattern in ('stripes', 'bars'),
        'UpperLogo': pattern == 'logo' and look.logo,
        'UpperPlaid': pattern == 'checks',
        'UpperSplice': pattern == 'block',
        'LowerStripe': below in ('stripes', 'bars', 'seam'),
        'LowerPattern': below == 'checks',
        'LongCoat': look.trunk and look.upper == 'coat',
        'Trousers': look.legs and look.lower == 'trousers',
        'Shorts': look.legs and look.lower == 'shorts',
        'Skirt&Dress': look.legs and look.lower in ('skirt', 'dress'),
        'boots': look.boots,
    }
    return np.array([true[name] for name in PA100K_ATTRIBUTES], np.uint8)
