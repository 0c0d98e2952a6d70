"""Paints: garment patterns, torso, trousers and head as functions on the body's surface."""

from __future__ import annotations

import numpy as np

from .capsule import Paint, Pattern
from .person import Bag, Color, Garment, Hair, Person

_TURN = np.float32(2 * np.pi)


def front_distance(angle: np.ndarray, center: float) -> np.ndarray:
    """Signed angular distance from ``center``, in [-pi, pi)."""
    return (angle - np.float32(center) + np.float32(np.pi)) % _TURN - np.float32(np.pi)


def patterned(garment: Garment) -> Paint:
    """Paint of a garment's fabric on any body part (logos only on the torso: ``torso``)."""
    main = np.array(garment.color, np.float32)
    second = np.array(garment.second, np.float32)
    count = garment.count

    def stripes(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        return ((t * count) % 1.0 > 0.5)[..., None]

    def bars(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        return ((angle * (count * 0.45)) % 1.0 > 0.55)[..., None]

    def checks(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        both = ((t * count) % 1.0 > 0.5) + 0.0 + ((angle * (count * 0.4)) % 1.0 > 0.5)
        return (0.5 * both)[..., None]

    def seam(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        side = np.abs(np.abs(front_distance(angle, 0.0)) - np.float32(np.pi / 2))
        return (side < 0.45)[..., None]

    kinds = {'stripes': stripes, 'bars': bars, 'checks': checks, 'seam': seam}
    if garment.pattern not in kinds:
        return garment.color
    amount = kinds[garment.pattern]

    def paint(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        return main + (second - main) * amount(t, angle).astype(np.float32)

    return paint


def torso(person: Person) -> Pattern:
    """Paint of the trunk: fabric, print, what an open jacket shows, straps of bags."""
    garment = person.upper
    fabric = patterned(garment)
    second = np.array(garment.second, np.float32)
    inner = np.array(person.inner, np.float32)

    def paint(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        color = np.empty((*t.shape, 3), np.float32)
        color[...] = fabric(t, angle) if callable(fabric) else fabric
        front = np.abs(front_distance(angle, 0.0))
        if garment.pattern == 'logo':
            back = np.abs(front_distance(angle, np.pi))
            color[(np.minimum(front, back * 0.7) / 0.55) ** 2 + ((t - 0.4) / 0.17) ** 2 < 1] = (
                second
            )
        if garment.pattern == 'block':
            color[(t > 0.28) & (t < 0.62)] = second
        if garment.kind == 'shirt':
            color[front < 0.05] *= 0.72
        shown = inner if shows_inner(garment) else np.array(person.skin, np.float32)
        color[opening(garment, t, front)] = shown
        if person.bag.kind in ('backpack', 'shoulder'):
            color[straps(person.bag, t, angle, front)] = np.array(person.bag.color, np.float32)
        return color

    return paint


def shows_inner(garment: Garment) -> bool:
    """Tell whether the opening of an upper garment shows another one, not skin."""
    return garment.kind in ('jacket', 'coat', 'shirt')


def opening(garment: Garment, t: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Return where on the trunk an upper garment is open.

    Args:
        garment: the upper garment.
        t: place along the trunk, 0 at the neck.
        front: absolute angular distance from the front.
    """
    if garment.kind in ('jacket', 'coat'):
        return front < {'jacket': 0.36, 'coat': 0.26}[garment.kind] + 0.16 * (1 - t)
    if garment.kind == 'shirt':
        return (t < 0.1) & (front < 0.7)
    return (t < 0.09) & (front < 0.75)


def straps(bag: Bag, t: np.ndarray, angle: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Return where straps of a bag lie on the trunk; arguments as of ``opening``."""
    if bag.kind == 'backpack':
        return (np.abs(front - 0.72) < 0.15) & (t < 0.58)
    if bag.kind == 'shoulder':
        across = np.sin(angle) * bag.side
        return np.abs(across - (t * 1.9 - 1.0)) < 0.16
    return np.zeros(np.shape(front), bool)


def head(hair: Hair, skin: Color, hat: Color | None) -> Pattern:
    """Paint of the head: face, hair down to a hairline, cap; t runs from crown to chin."""
    face = np.array(skin, np.float32)
    strands = np.array(hair.color, np.float32)
    brim = 0.0 if hair.style != 'bald' else -1.0

    def paint(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        front = np.abs(front_distance(angle, 0.0))
        color = np.empty((*t.shape, 3), np.float32)
        color[...] = face
        eyes = (np.abs(front - 0.42) < 0.17) & (np.abs(t - 0.5) < 0.06)
        color[eyes] *= 0.4
        color[(front < 0.3) & (np.abs(t - 0.8) < 0.035)] *= 0.72
        hairline = 0.24 + 0.5 * np.clip((front - 0.75) / 0.9, 0.0, 1.0)
        color[t < hairline + brim] = strands
        if hat is not None:
            color[t < 0.34] = np.array(hat, np.float32)
            color[(t > 0.29) & (t < 0.34)] *= 0.6
        return color

    return paint
