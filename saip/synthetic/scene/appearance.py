"""What can be seen of a person, from which attributes, garments and captions are read.

What somebody wears or carries counts where some of it is seen; age and sex always count.
"""

from __future__ import annotations

import numpy as np

from .actor import Actor
from .render import Annotated


class Appearance:
    """What the image shows of one person; most of it is yes or no."""

    def __init__(self, annotated: Annotated, number: int) -> None:
        actor = annotated.seen[number].subject
        assert isinstance(actor, Actor)
        self.character = actor.character
        person = actor.character.person
        self.upper, self.lower = person.upper.kind, person.lower.kind
        if self.upper == 'dress':
            self.lower = 'dress'
        self.facing = float(np.cos(actor.figure.view.yaw))
        self.walking = actor.figure.pose.stride > 0.15

        def some(*names: str) -> bool:
            return annotated.shows(number, *names) > 2

        self.hat = some('hat', 'cap')
        self.glasses, self.sunglasses = some('glasses'), some('sunglasses')
        self.scarf, self.held = some('scarf'), some('held')
        self.gloves = actor.character.gloves is not None and some('palm', 'finger')
        self.socks, self.inner = some('sock'), some('inner')
        self.bag = person.bag.kind if some('bag') else 'none'
        self.trunk, self.legs = some('upper', 'tail'), some('lower', 'skirt', 'seat', 'tail')
        self.feet, self.boots = some('shoe', 'boot'), some('boot')
        self.hair = some('hair', 'scalp')
        self.bald = person.hair.style == 'bald' and some('face') and not self.hat
        self.short_sleeve = self.upper in ('tshirt', 'dress', 'vest')
        # A print is on chest and back, so one of the sides is seen unless it is a side view.
        self.logo = person.upper.pattern == 'logo' and abs(self.facing) > 0.35
        self.upper_pattern = person.upper.pattern if self.trunk else ''
        below = person.upper.pattern if self.lower == 'dress' else person.lower.pattern
        self.lower_pattern = below if self.legs else ''
