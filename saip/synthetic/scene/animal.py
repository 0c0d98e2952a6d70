"""A four-legged animal as a subject of a scene, with the landmarks of AP-10K and ChimpACT.

Body coordinates as of people (x to the animal's left, y up, z forward), in shoulder heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..capsule import Capsule, Paint
from ..draw import Part, Placement
from ..person import Color
from ..pose import View, project
from ..rng import ANIMAL, between, chance, generator
from .parts import codes
from .scene import Embodied, Landmark

NAMES = (
    'left_eye', 'right_eye', 'nose', 'neck', 'root_of_tail',
    'left_shoulder', 'left_elbow', 'left_front_paw',
    'right_shoulder', 'right_elbow', 'right_front_paw',
    'left_hip', 'left_knee', 'left_back_paw', 'right_hip', 'right_knee', 'right_back_paw',
    'pelvis', 'upper_lip', 'lower_lip',
)  # fmt: skip
"""The landmarks; the first 17 are those of AP-10K."""

PATTERNS = ('plain', 'stripes', 'patches', 'spots')
COATS: tuple[Color, ...] = (
    (118, 82, 54),
    (74, 52, 40),
    (160, 120, 80),
    (46, 42, 42),
    (214, 206, 194),
    (150, 146, 140),
)
SIDES = (('l', 1.0), ('r', -1.0))
# Height of the upper ends of the legs, half-width of the legs, length of the ears.
_LEG, _LIMB, _EAR = 0.6, 0.055, 0.14


@dataclass(frozen=True)
class Animal:
    """An animal at one moment and place; lengths in shoulder heights.

    Attributes:
        length: of the trunk.
        depth: half-width of the trunk.
        neck: its length.
        head: its length.
        tail: its length.
        coat: color.
        pattern: one of ``PATTERNS``.
        phase: where in the step, radians.
        stride: swing of the legs, radians.
        rise: how steeply the neck rises, radians.
        view: from where it is seen.
        place: its ``height`` is that of the shoulders.
    """

    length: float
    depth: float
    neck: float
    head: float
    tail: float
    coat: Color
    pattern: str
    phase: float
    stride: float
    rise: float
    view: View
    place: Placement
    group: int = 0

    def embody(self, size: tuple[int, int]) -> Embodied:
        """Say what is drawn in an image of ``size`` (h, w)."""
        sketch = _Sketch(self, size)
        parts = [*_trunk(sketch), *_legs(sketch), *_head(sketch)]
        parts.sort(key=lambda part: part.order)
        turned = bool(np.cos(self.view.yaw) < -0.75)
        return Embodied(tuple(parts), tuple(_landmarks(sketch)), turned)


def sample_animal(seed: int, number: int, place: Placement) -> Animal:
    """Draw an animal; most are seen from the side."""
    rng = generator(seed, ANIMAL, number)
    red, green, blue = COATS[int(rng.integers(len(COATS)))]
    tint = between(rng, 0.85, 1.12)
    side = 1.0 if chance(rng, 0.5) else -1.0
    return Animal(
        length=between(rng, 1.0, 1.35),
        depth=between(rng, 0.19, 0.28),
        neck=between(rng, 0.18, 0.5),
        head=between(rng, 0.28, 0.4),
        tail=between(rng, 0.15, 0.85),
        coat=(min(red * tint, 255), min(green * tint, 255), min(blue * tint, 255)),
        pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
        phase=between(rng, 0, 2 * np.pi),
        stride=between(rng, 0.1, 0.5),
        rise=between(rng, -0.4, 1.0),
        view=View(side * (np.pi / 2 + between(rng, -0.95, 0.6)), between(rng, 0.02, 0.16)),
        place=place,
    )


class _Sketch:
    """Joints of an animal in its own coordinates and in the image."""

    def __init__(self, animal: Animal, size: tuple[int, int]) -> None:
        self.animal, self.yaw = animal, animal.view.yaw
        self.coat = _coat(animal)
        self.scale = animal.place.height * size[0]
        origin = np.array([animal.place.x * size[1], animal.place.ground * size[0]])
        flat = project(_joints(animal), animal.view)
        self.points = {name: origin + flat[name][:2] * self.scale for name in flat}
        self.near = {name: float(joint[2]) for name, joint in flat.items()}
        # The tip of the head is hidden by the head where it looks away.
        self.faces_away = self.near['nose'] < self.near['poll'] - 0.55 * animal.head

    def capsule(self, top: str, bottom: str, *radii: float) -> Capsule:
        """A capsule between two joints, half-widths in shoulder heights."""
        shape = np.array(radii) * self.scale
        return Capsule(self.points[top], self.points[bottom], shape, self.yaw)

    def ball(self, joint: str, radius: float) -> Capsule:
        """A small ball at a joint, its radius in head lengths."""
        point, size = self.points[joint], radius * self.animal.head * self.scale
        return Capsule(point, point + (0.0, 1.0), np.full(2, size), self.yaw)

    def eye_turned(self, side: str) -> bool:
        """Tell whether an eye lies behind the plane through the middle of the head."""
        sign = 1.0 if side == 'l' else -1.0
        return bool(np.cos(self.yaw) * 0.45 - sign * np.sin(self.yaw) < 0)


def _joints(animal: Animal) -> dict[str, np.ndarray]:
    depth, head = animal.depth, animal.head
    back, half = 1.0 - depth, animal.length / 2
    joints = {
        'chest': np.array([0.0, back, half - depth]),
        'rump': np.array([0.0, back, -half + depth]),
        'withers': np.array([0.0, back + 0.35 * depth, half - 0.6 * depth]),
        'tail_root': np.array([0.0, back + 0.6 * depth, -half + 0.35 * depth]),
    }
    forward = animal.neck * np.array([0.0, np.sin(animal.rise), np.cos(animal.rise)])
    poll = joints['withers'] + forward
    face = head * np.array([0.0, -0.42, 0.9])
    joints |= {'poll': poll, 'neck': joints['withers'] + 0.45 * forward, 'nose': poll + face}
    joints['upper_lip'] = joints['nose'] + head * np.array([0.0, -0.09, -0.03])
    joints['lower_lip'] = joints['nose'] + head * np.array([0.0, -0.17, -0.1])
    joints['tail_end'] = joints['tail_root'] + animal.tail * np.array([0.0, -0.85, -0.5])
    for number, (side, sign) in enumerate(SIDES):
        joints[f'eye_{side}'] = poll + 0.4 * face + head * np.array([0.13 * sign, 0.08, 0.0])
        root = poll + np.array([0.16 * sign * head, 0.0, 0.0])
        joints[f'ear_{side}'] = root
        joints[f'tip_{side}'] = root + _EAR * np.array([0.45 * sign, 0.9, -0.1])
        for name, z, beat, bend in (
            ('fore', half - depth, 0.0, -0.07),
            ('hind', -half + depth, 2.2, 0.07),
        ):
            top = np.array([0.55 * sign * depth, _LEG + 0.1, z])
            phase = animal.phase + beat + number * np.pi
            lifted = 0.03 + 0.1 * animal.stride * max(0.0, np.cos(phase))
            swing = np.sin(np.sin(phase) * animal.stride) * top[1]
            foot = np.array([top[0], lifted, z + swing])
            middle = top + 0.48 * (foot - top) + np.array([0.0, 0.0, bend])
            joints |= {f'{name}_{side}_{end}': joint for end, joint in
                       (('top', top), ('mid', middle), ('paw', foot))}  # fmt: skip
    return joints


def _trunk(sketch: _Sketch) -> list[Part]:
    animal, depth = sketch.animal, sketch.animal.depth
    trunk = sketch.capsule('chest', 'rump', depth, depth * 0.94, depth * 0.96)
    neck = sketch.capsule('withers', 'poll', depth * 0.6, 0.24 * animal.head + 0.02)
    tail = sketch.capsule('tail_root', 'tail_end', 0.03, 0.022)
    return [
        Part('trunk', trunk, sketch.coat, 0.0),
        Part('nape', neck, sketch.coat, 0.02 if sketch.near['poll'] > -0.1 else -0.02),
        Part('tail_hair', tail, _dark(animal.coat), 0.5 * sketch.near['tail_root']),
    ]


def _legs(sketch: _Sketch) -> list[Part]:
    parts = []
    for side, _ in SIDES:
        for name, wide, root in (('fore', 1.5, 'chest'), ('hind', 1.9, 'rump')):
            top, mid, paw = (f'{name}_{side}_{end}' for end in ('top', 'mid', 'paw'))
            near = sketch.near[top] - sketch.near[root]
            upper = sketch.capsule(top, mid, wide * _LIMB, _LIMB * 1.05)
            lower = sketch.capsule(mid, paw, _LIMB, _LIMB * 0.75)
            order = 0.2 + near if near > 0 else -0.2 + near
            parts.append(Part(f'{name}leg', lower, sketch.coat, order, side))
            parts.append(Part(f'{name}leg', upper, sketch.coat, order + 1e-3, side))
    return parts


def _head(sketch: _Sketch) -> list[Part]:
    wide, dark = sketch.animal.head, _dark(sketch.animal.coat)
    order = 0.1 if sketch.near['nose'] > -0.15 else -0.1
    skull = sketch.capsule('poll', 'nose', 0.27 * wide, 0.25 * wide, 0.19 * wide, 0.17 * wide)
    parts = [Part('skull', skull, sketch.coat, order)]
    if not sketch.faces_away:
        mouth = sketch.capsule('upper_lip', 'lower_lip', 0.05 * wide, 0.05 * wide)
        parts.append(Part('skull', mouth, (150, 84, 84), order + 0.03))
        parts.append(Part('skull', sketch.ball('nose', 0.085), (38, 32, 32), order + 0.04))
    for side, _ in SIDES:
        ear = sketch.capsule(f'ear_{side}', f'tip_{side}', 0.05 * wide + 0.014, 0.014)
        near = sketch.near[f'ear_{side}'] > sketch.near['poll']
        parts.append(Part('auricle', ear, dark, order + (0.02 if near else -0.02), side))
        if not sketch.eye_turned(side):
            ball = sketch.ball(f'eye_{side}', 0.055)
            parts.append(Part('skull', ball, (18, 16, 18), order + 0.02))
    return parts


def _landmarks(sketch: _Sketch) -> list[Landmark]:
    """Return the landmarks in the order of ``NAMES``."""
    points, skull = sketch.points, codes('skull')
    found = [
        Landmark(points[f'eye_{side}'], skull, sketch.eye_turned(side)) for side, _ in SIDES
    ]
    found.append(Landmark(points['nose'], skull, sketch.faces_away))
    found.append(Landmark(points['neck'], codes('nape')))
    found.append(Landmark(points['tail_root'], codes('tail_hair', 'trunk')))
    for name in ('fore', 'hind'):
        for side, _ in SIDES:
            shown = codes(f'{name}leg', sides=(side,))
            found += [
                Landmark(points[f'{name}_{side}_{end}'], shown) for end in ('top', 'mid', 'paw')
            ]
    found.append(Landmark(points['rump'], codes('trunk', 'tail_hair', 'hindleg')))
    lips = (points['upper_lip'], points['lower_lip'])
    return found + [Landmark(lip, skull, sketch.faces_away) for lip in lips]


def _coat(animal: Animal) -> Paint:
    if animal.pattern == 'plain':
        return animal.coat
    # Something that differs from animal to animal and not from frame to frame.
    main, shift = np.array(animal.coat, np.float32), 10 * animal.tail
    second = np.array((34, 30, 28) if main.sum() > 250 else (206, 176, 140), np.float32)

    def amount(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        if animal.pattern == 'stripes':
            return np.sin(t * 34 + 0.8 * np.sin(2 * angle)) > 0.25
        wave = np.sin(9 * t + shift) + np.sin(2.2 * angle + 2 * shift) + np.sin(5 * t - angle)
        if animal.pattern == 'patches':
            return wave > 0.7
        return (np.sin(40 * t + angle) > 0.55) & (np.sin(9 * angle + shift) > 0.3)

    def paint(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        return main + (second - main) * amount(t, angle)[..., None].astype(np.float32)

    return paint


def _dark(color: Color) -> Color:
    red, green, blue = color
    return (red * 0.6, green * 0.6, blue * 0.6)
