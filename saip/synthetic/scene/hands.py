"""Hands with fingers: 21 joints each, and the capsules that show them."""

from __future__ import annotations

import numpy as np

from ..draw import Body, Part
from ..person import Color

# Of thumb, fore, middle, ring and little finger, in body heights.
_ACROSS = (0.012, 0.0145, 0.005, -0.0045, -0.0135)
_ALONG = (0.014, 0.047, 0.049, 0.047, 0.043)
_LENGTH = (0.035, 0.042, 0.046, 0.042, 0.034)
_OUT = (0.7, 0.12, 0.02, -0.08, -0.2)
_CURL = 0.22
FINGER = 0.0072


def hand_joints(body: Body, side: str, twist: float) -> np.ndarray:
    """Return the joints of a hand in body coordinates, (21, 3).

    The order is wrist, then thumb to little finger with four joints each from the palm outwards.

    Args:
        body: of which the arm is part.
        side: ``l`` or ``r``.
        twist: of the hand about the forearm, radians; 0 has the thumb in front, pi/2 on the
            side of the body.
    """
    wrist, end = body.joints[f'wrist_{side}'], body.joints[f'hand_{side}']
    along = (end - wrist) / np.linalg.norm(end - wrist)
    lift = np.arcsin(np.clip(along[2], -1.0, 1.0))
    spread = np.arctan2(along[0], -along[1])
    thumb = np.array([-np.sin(spread) * along[2], np.cos(spread) * along[2], np.cos(lift)])
    mirror = 1.0 if side == 'l' else -1.0
    turned = np.cos(twist) * thumb + np.sin(twist) * mirror * np.cross(along, thumb)
    palm = mirror * np.cross(along, turned)
    joints = [wrist]
    for across, start, length, out in zip(_ACROSS, _ALONG, _LENGTH, _OUT, strict=True):
        straight = along + out * turned
        straight /= np.linalg.norm(straight)
        joint = wrist + start * along + across * turned
        joints.append(joint)
        for number, share in enumerate((0.45, 0.3, 0.25)):
            curl = _CURL * (number + 1) / 2
            joint = joint + share * length * (np.cos(curl) * straight + np.sin(curl) * palm)
            joints.append(joint)
    return np.array(joints)


def hand_parts(
    body: Body, joints: np.ndarray, side: str, color: Color, order: float
) -> list[Part]:
    """Return palm and fingers; ``joints`` are those of ``hand_joints``."""
    points = np.array([body.see(joint)[0] for joint in joints])
    fist = (points[5] + points[17]) / 2
    breadth = float(np.linalg.norm(points[5] - points[17])) / body.scale / 2
    shape = (0.6 * breadth + 0.009, breadth + 0.006)
    parts = [Part('palm', body.between(points[0], fist, *shape), color, order, side)]
    red, green, blue = (value * 0.93 for value in color)
    for first in range(1, 21, 4):
        for start, end in ((first, first + 1), (first + 1, first + 3)):
            bone = body.between(points[start], points[end], FINGER, FINGER * 0.9)
            parts.append(Part('finger', bone, (red, green, blue), order + 5e-4, side))
    thumb_root = body.between(points[0], points[1], FINGER, FINGER)
    return [*parts, Part('palm', thumb_root, color, order, side)]
