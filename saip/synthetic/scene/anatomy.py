"""What a character is drawn with: all parts of a body, each knowing what it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..capsule import Capsule, Pattern
from ..draw import Body, Figure, Part, body_parts
from ..person import Color
from ..textures import front_distance, opening, shows_inner, straps
from .character import Character
from .face import face_parts, head_paint, head_regions, skull
from .hands import hand_joints, hand_parts
from .parts import code

# Where boots and socks begin, from knee to ankle.
BOOT, SOCK = 0.42, 0.62
# Of bodies of fewer pixels the fingers are not drawn.
FAR = 50


@dataclass(frozen=True)
class Anatomy:
    """A placed body with everything drawn of it.

    Attributes:
        parts: far to near.
        head: the skull, on which the landmarks of the face lie.
        hands: joints of the left and of the right hand, (21, 3) in body coordinates.
    """

    body: Body
    parts: tuple[Part, ...]
    head: Capsule
    hands: tuple[np.ndarray, np.ndarray]


def make_anatomy(character: Character, figure: Figure, size: tuple[int, int]) -> Anatomy:
    """Return the body of a character in an image of ``size`` (h, w)."""
    body = Body(figure, size)
    head = skull(body)
    arms = figure.pose.arms
    twists = (arms[0].twist, arms[1].twist) if arms else (0.0, 0.0)
    left = hand_joints(body, 'l', twists[0])
    right = hand_joints(body, 'r', twists[1])
    parts: list[Part] = []
    for part in body_parts(body):
        if part.name == 'head':
            regions = head_regions(character)
            paint = head_paint(character)
            parts.append(replace(part, name='face', capsule=head, paint=paint, regions=regions))
        elif part.name == 'upper' and not part.side:
            parts.append(replace(part, regions=_trunk_regions(character)))
        elif part.name == 'hand':
            joints = left if part.side == 'l' else right
            color = character.gloves or character.person.skin
            hand = hand_parts(body, joints, part.side, color, part.order + 3e-3)
            parts += hand if body.scale > FAR else hand[:1]
        elif part.name == 'shoe' and body.facing > 0.2:
            # Toes that point at the camera are in front of the trousers.
            parts.append(replace(part, order=part.order + 8e-3))
        else:
            parts.append(part)
    parts += face_parts(body, character, head) + _worn(body, character)
    parts.sort(key=lambda part: part.order)
    return Anatomy(body, tuple(parts), head, (left, right))


def _trunk_regions(character: Character) -> Pattern:
    garment, bag = character.person.upper, character.person.bag
    below = code('inner') if shows_inner(garment) else code('collar')

    def regions(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        front = np.abs(front_distance(angle, 0.0))
        found = np.full(t.shape, code('upper'), np.uint8)
        found[opening(garment, t, front)] = below
        found[straps(bag, t, angle, front)] = code('bag')
        return found

    return regions


def _worn(body: Body, character: Character) -> list[Part]:
    """Scarf, boots, socks, and what is held: things that a single crop does not have."""
    person, parts = character.person, []
    if character.scarf is not None:
        left, right = body.at(-0.03, 0.008, 0.0, 'neck'), body.at(0.03, 0.008, 0.0, 'neck')
        parts.append(Part('scarf', body.between(left, right, 0.03, 0.03), character.scarf, 3.2))
        if body.facing > 0:
            top, end = body.at(0.02, 0.0, 0.03, 'neck'), body.at(0.025, -0.15, 0.05, 'neck')
            fall = body.between(top, end, 0.017, 0.02)
            parts.append(Part('scarf', fall, character.scarf, 3.25))
    girth = 0.6 + 0.4 * person.build.girth
    for side in ('l', 'r'):
        knee, ankle = body.points[f'knee_{side}'], body.points[f'ankle_{side}']
        order = 1.5 + body.near[f'hip_{side}'] + body.near[f'knee_{side}']
        if character.boots:
            rim = knee + BOOT * (ankle - knee)
            wide = 0.046 * girth * max(person.lower.fit, 1.0)
            shaft = body.between(rim, ankle, wide, 0.85 * wide)
            parts.append(Part('boot', shaft, person.shoes, order + 0.006, side))
        elif character.bare_shanks and character.socks is not None:
            rim = knee + SOCK * (ankle - knee)
            sock = body.between(rim, ankle, 0.034 * girth, 0.026)
            parts.append(Part('sock', sock, character.socks, order + 0.0005, side))
    if character.held is not None:
        parts.append(_held(body, character.held))
    return parts


def _held(body: Body, color: Color) -> Part:
    middle = (body.points['wrist_l'] + body.points['wrist_r']) / 2
    middle = middle + body.at(0.0, 0.0, 0.06, 'neck') - body.points['neck']
    rise = np.array([0.0, 0.055 * body.scale])
    half = float(body.section(np.array(0.085), np.array(0.05)))
    capsule = body.between(middle - rise, middle + rise, half, half)
    box = replace(capsule, capped=False)
    return Part('held', box, color, 5.3 if body.facing > -0.1 else 0.3)
