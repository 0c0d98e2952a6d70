"""Heads with a face: what is painted where, and where its landmarks are.

Places on a head are (t, angle): t from crown (0) to chin (1), angle around it from the face (0)
to the person's left ear (pi/2).
"""

from __future__ import annotations

import numpy as np

from ..capsule import Capsule, Paint, Pattern
from ..draw import Body, Part
from ..textures import front_distance
from .character import Character
from .parts import code

# Half-widths of a head from crown to chin, relative to the widest place.
EGG = np.array([0.3, 0.66, 0.83, 0.92, 0.97, 1.0, 1.0, 0.98, 0.94, 0.87, 0.78, 0.66, 0.48])
EYE_T, EYE_ANGLE, MOUTH_T = 0.5, 0.42, 0.8
EAR_T, EAR_ANGLE = 0.54, 1.5
NOSE_T, NOSE_REACH = 0.64, 1.12


def skull(body: Body) -> Capsule:
    """Return the head of a placed body."""
    size = body.person.build.head
    half = float(body.section(np.array(0.05), np.array(0.058))) * size * body.scale
    crown, chin = body.points['crown'], body.points['chin']
    return Capsule(crown, chin, EGG * half, body.yaw, capped=False)


def head_regions(character: Character) -> Pattern:
    """Return the function that says which part lies where on a head."""
    bald = character.person.hair.style == 'bald'

    def regions(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        front = np.abs(front_distance(angle, 0.0))
        found = np.full(t.shape, code('face'), np.uint8)
        if character.glasses != 'none':
            found[_lenses(t, front)] = code(character.glasses)
        hairline = 0.24 + 0.5 * np.clip((front - 0.75) / 0.9, 0.0, 1.0)
        # A fringe of hair is left at the back of a bald head.
        hair = (t < 0.7) & (t > 0.42) & (front > 1.9) if bald else t < hairline
        found[hair] = code('scalp')
        if character.person.hat is not None:
            found[t < 0.34] = code('cap')
        return found

    return regions


def _lenses(t: np.ndarray, front: np.ndarray) -> np.ndarray:
    lens = ((front - EYE_ANGLE) / 0.3) ** 2 + ((t - EYE_T) / 0.085) ** 2 < 1
    return lens | ((np.abs(t - EYE_T + 0.01) < 0.022) & (front < 1.5))


def head_paint(character: Character) -> Paint:
    """Return the paint of a head: exactly the regions, and features on the face."""
    person = character.person
    regions = head_regions(character)
    colors = np.zeros((128, 3), np.float32)
    colors[code('face')] = person.skin
    colors[code('scalp')] = person.hair.color
    colors[code('cap')] = person.hat or (0, 0, 0)
    colors[code('glasses')] = (52, 48, 50)
    colors[code('sunglasses')] = (20, 20, 24)
    lips = np.array(person.skin, np.float32) * (0.86, 0.55, 0.55)

    def paint(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        found = regions(t, angle)
        color = colors[found]
        turn = front_distance(angle, 0.0)
        front = np.abs(turn)
        lens = ((front - EYE_ANGLE) / 0.23) ** 2 + ((t - EYE_T) / 0.062) ** 2 < 1
        clear = found == code('glasses')
        face = found == code('face')
        color[clear & lens] = np.array(person.skin, np.float32) * 0.94
        bare = face | (clear & lens)
        white = ((front - EYE_ANGLE) / 0.2) ** 2 + ((t - EYE_T) / 0.042) ** 2 < 1
        iris = ((front - EYE_ANGLE) / 0.1) ** 2 + ((t - EYE_T) / 0.045) ** 2 < 1
        color[bare & white] = (228, 226, 222)
        color[bare & iris] = (46, 34, 30)
        brow = (np.abs(front - EYE_ANGLE) < 0.25) & (np.abs(t - 0.405) < 0.018)
        color[face & brow] = np.array(person.hair.color, np.float32) * 0.7
        color[face & ((front / 0.13) ** 2 + ((t - 0.665) / 0.02) ** 2 < 1)] *= 0.72
        mouth = (front / 0.34) ** 2 + ((t - MOUTH_T) / 0.048) ** 2 < 1
        color[face & mouth] = lips
        color[face & (front < 0.3) & (np.abs(t - MOUTH_T) < 0.009)] *= 0.6
        if person.hat is not None:
            color[(found == code('cap')) & (t > 0.29)] *= 0.6
        return color

    return paint


def face_parts(body: Body, character: Character, head: Capsule) -> list[Part]:
    """Return nose and ears, which stand out from the head."""
    skin = character.person.skin
    red, green, blue = skin
    unit = float(head.profile.max())
    parts = []
    if body.facing > -0.05:
        bridge, tip = jut(head, 0.5, 0.0, 1.0), jut(head, NOSE_T, 0.0, NOSE_REACH)
        shape = np.array([0.07, 0.13, 0.16]) * unit
        nose = Capsule(bridge, tip, shape, body.yaw)
        parts.append(Part('nose', nose, (red * 0.95, green * 0.9, blue * 0.88), 4.05))
    if character.person.hair.style in ('long', 'bob'):
        return parts
    for side, sign in (('l', 1.0), ('r', -1.0)):
        angle = sign * EAR_ANGLE
        top, low = jut(head, EAR_T - 0.06, angle, 1.03), jut(head, EAR_T + 0.07, angle, 1.0)
        ear = Capsule(top, low, np.array([0.15, 0.1]) * unit, body.yaw)
        near = np.cos(angle + body.yaw) > 0.12
        parts.append(Part('ear', ear, skin, 4.04 if near else 3.9, side))
    return parts


def jut(head: Capsule, t: float, angle: float, reach: float) -> np.ndarray:
    """Return the image point above a place on a head, ``reach`` radii from its axis."""
    surface, _ = head.surface(np.array([t]), np.array([angle]))
    axis = head.top + t * (head.bottom - head.top)
    return axis + reach * (surface[0] - axis)


def face_places() -> np.ndarray:
    """Return (t, angle) of the 68 landmarks in the common order, (68, 2).

    Jaw from the person's right ear to the left, brows, bridge and wings of the nose, eyes, outer
    and inner lips; everything begins on the person's right.
    """
    jaw = np.linspace(-1.35, 1.35, 17)
    chin = 0.5 + 0.47 * np.cos(jaw * np.pi / 2.7) ** 0.6
    places = list(zip(chin, jaw, strict=True))
    right_brow = list(
        zip((0.425, 0.4, 0.395, 0.4, 0.415), np.linspace(-0.66, -0.18, 5), strict=True)
    )
    places += right_brow + _mirrored(right_brow)[::-1]
    places += [(t, 0.0) for t in (0.47, 0.53, 0.58, 0.635)]
    places += list(
        zip((0.66, 0.672, 0.68, 0.672, 0.66), np.linspace(-0.16, 0.16, 5), strict=True)
    )
    lids = ((0.5, 0.6), (0.465, 0.48), (0.465, 0.34), (0.5, 0.22), (0.535, 0.34), (0.535, 0.48))
    left_eye = [lids[i] for i in (3, 2, 1, 0, 5, 4)]
    places += [(t, -angle) for t, angle in lids] + left_eye
    upper = [(0.8, -0.34), (0.77, -0.2), (0.758, -0.08), (0.764, 0.0)]
    lower = [(0.832, -0.2), (0.846, -0.08), (0.85, 0.0)]
    places += upper + _mirrored(upper[:3])[::-1]
    places += _mirrored(lower[:2]) + lower[::-1]
    inner = [(0.8, -0.26), (0.79, -0.08), (0.79, 0.0), (0.79, 0.08), (0.8, 0.26)]
    places += inner + [(0.81, 0.08), (0.81, 0.0), (0.81, -0.08)]
    return np.array(places)


def _mirrored(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(t, -angle) for t, angle in places]
