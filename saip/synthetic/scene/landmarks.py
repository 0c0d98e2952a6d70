"""The 133 landmarks of COCO-WholeBody on a drawn body.

Each knows where it is and what must be drawn there for it to be seen.
"""

from __future__ import annotations

import numpy as np

from ..draw import Body
from .anatomy import Anatomy
from .face import EAR_ANGLE, EAR_T, EYE_ANGLE, EYE_T, NOSE_REACH, NOSE_T, face_places, jut
from .parts import codes
from .subject import Landmark

BODY, FEET, FACE = slice(0, 17), slice(17, 23), slice(23, 91)
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)
COUNT = 133
_LIMBS = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
BODY_NAMES = (
    'nose',
    *(f'{side}_{name}' for name in ('eye', 'ear', *_LIMBS) for side in ('left', 'right')),
)
_FACE_PARTS = ('face', 'glasses', 'sunglasses', 'nose', 'ear')
_ARM = ('upper', 'arm', 'palm', 'finger')
_LEG = ('lower', 'leg', 'sock', 'boot', 'shoe')
_TRUNK = ('upper', 'inner', 'tail', 'hood', 'collar', 'seat', 'skirt', 'scarf')
# A joint that is farther than the middle of the trunk by more than this share of the body
# height is behind it: it needs its own limb to be seen.
_DEPTH = 0.03


def landmarks(anatomy: Anatomy) -> list[Landmark]:
    """Return the landmarks of a body in the order of COCO-WholeBody."""
    body = anatomy.body
    found = _on_head(anatomy)
    for name in _LIMBS:
        found += [_joint(body, name, side) for side in ('l', 'r')]
    for side in ('l', 'r'):
        found += _foot(body, side)
    places = face_places()
    points, facing = anatomy.head.surface(places[:, 0], places[:, 1])
    points[30] = jut(anatomy.head, NOSE_T, 0.0, NOSE_REACH)
    shown = codes(*_FACE_PARTS)
    found += [
        Landmark(point, shown, not seen) for point, seen in zip(points, facing, strict=True)
    ]
    for side, joints in zip(('l', 'r'), anatomy.hands, strict=True):
        hand = codes('palm', 'finger', sides=(side,))
        wrist = codes(*_ARM, sides=(side,))
        found += [
            Landmark(body.see(joint)[0], hand if number else wrist)
            for number, joint in enumerate(joints)
        ]
    return found


def _on_head(anatomy: Anatomy) -> list[Landmark]:
    head, yaw = anatomy.head, anatomy.body.yaw
    shown = codes(*_FACE_PARTS)
    nose = Landmark(jut(head, NOSE_T, 0.0, NOSE_REACH), shown, bool(np.cos(yaw) < -0.05))
    found = [nose]
    for t, angle, reach in ((EYE_T, EYE_ANGLE, 1.0), (EAR_T, EAR_ANGLE, 1.0)):
        for turn in (angle, -angle):
            turned = bool(np.cos(turn + yaw) < -0.1)
            found.append(Landmark(jut(head, t, turn, reach), shown, turned))
    return found


def _joint(body: Body, name: str, side: str) -> Landmark:
    joint = f'{name}_{side}'
    if name in ('shoulder', 'elbow', 'wrist'):
        shown = codes(*_ARM, sides=(side,))
    else:
        shown = codes(*_LEG, sides=(side,))
    root = {'shoulder': 'neck', 'hip': 'pelvis'}.get(name)
    if root and body.near[joint] > body.near[root] - _DEPTH:
        shown |= codes(*_TRUNK, sides=('',))
    if name == 'knee':
        # Under a skirt or a coat; annotators mark what cloth covers as seen.
        shown |= codes('skirt', 'tail', sides=('',))
    return Landmark(body.points[joint], shown)


def _foot(body: Body, side: str) -> list[Landmark]:
    """Big toe, small toe and heel."""
    out = 1.0 if side == 'l' else -1.0
    ankle, toe = body.joints[f'ankle_{side}'], body.joints[f'toe_{side}']
    places = (
        toe + np.array([-0.008 * out, 0.0, 0.008]),
        toe + np.array([0.012 * out, 0.0, -0.004]),
        ankle + np.array([0.0, -0.014, -0.014]),
    )
    shown = codes('shoe', 'boot', sides=(side,))
    return [Landmark(body.see(place)[0], shown) for place in places]
