"""What can be seen of a person, from which attributes are read.

What somebody wears or carries counts where some of it is seen; age and sex always count.
"""

from __future__ import annotations

import numpy as np

from .actor import Actor
from .character import Character
from .render import Rendered


class Attributes:
    """What the image shows of one actor; most of it is yes or no."""

    def __init__(self, rendered: Rendered, number: int, actor: Actor) -> None:
        self.character: Character = actor.character
        person = actor.character.person
        self.upper, self.lower = person.upper.kind, person.lower.kind
        if self.upper == 'dress':
            self.lower = 'dress'
        self.facing = float(np.cos(actor.figure.view.yaw))
        self.walking = actor.figure.pose.stride > 0.15

        def some(*names: str) -> bool:
            return rendered.shows(number, *names) > 2

        self.hat = some('hat', 'cap')
        self.glasses, self.sunglasses = some('glasses'), some('sunglasses')
        self.scarf, self.held = some('scarf'), some('held')
        self.gloves = actor.character.gloves is not None and some('palm', 'finger')
        self.socks, self.inner = some('sock'), some('inner')
        self.bag = person.bag.kind if some('bag') else 'none'
        self.trunk, self.legs = some('upper', 'tail'), some('lower', 'skirt', 'seat', 'tail')
        self.feet, self.boots = some('shoe', 'boot'), some('boot')
        self.hair = some('hair', 'scalp')
        self.short_sleeve = self.upper in ('tshirt', 'dress', 'vest')
        # A print is on chest and back, so one of the sides is seen unless it is a side view.
        self.logo = person.upper.pattern == 'logo' and abs(self.facing) > 0.35
