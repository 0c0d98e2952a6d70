"""Four-legged animals as subjects of a scene, with the 17 landmarks of AP-10K.

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
from .parts import code, codes
from .species import SPECIES, Species
from .subject import Embodied, Landmark, Layer

AP10K_NAMES = (
    'left_eye',
    'right_eye',
    'nose',
    'neck',
    'root_of_tail',
    'left_shoulder',
    'left_elbow',
    'left_front_paw',
    'right_shoulder',
    'right_elbow',
    'right_front_paw',
    'left_hip',
    'left_knee',
    'left_back_paw',
    'right_hip',
    'right_knee',
    'right_back_paw',
)
SIDES = (('l', 1.0), ('r', -1.0))


@dataclass(frozen=True)
class Animal:
    """An animal at one moment and place.

    Attributes:
        coat: color.
        phase: where in the step, radians.
        stride: swing of the legs, radians.
        nod: how far the neck is lowered, radians.
        view: from where it is seen.
        place: its ``height`` is that of the shoulders.
    """

    species: Species
    coat: Color
    phase: float
    stride: float
    nod: float
    view: View
    place: Placement
    group: int = 0

    def embody(self, size: tuple[int, int]) -> Embodied:
        """Say what is drawn in an image of ``size`` (h, w)."""
        sketch = _Sketch(self, size)
        parts = [*_trunk(sketch), *_legs(sketch), *_head(sketch)]
        ordered = sorted(parts, key=lambda part: part.order)
        layers = tuple(Layer(part, code(part.name, part.side)) for part in ordered)
        turned = bool(np.cos(self.view.yaw) < -0.75)
        return Embodied(layers, tuple(_landmarks(sketch)), turned)


def sample_animal(seed: int, number: int, place: Placement) -> Animal:
    """Draw an animal; most are seen from the side."""
    rng = generator(seed, ANIMAL, number)
    species = SPECIES[int(rng.integers(len(SPECIES)))]
    red, green, blue = species.coats[int(rng.integers(len(species.coats)))]
    tint = between(rng, 0.85, 1.12)
    side = 1.0 if chance(rng, 0.5) else -1.0
    return Animal(
        species=species,
        coat=(min(red * tint, 255), min(green * tint, 255), min(blue * tint, 255)),
        phase=between(rng, 0, 2 * np.pi),
        stride=between(rng, 0.1, 0.5),
        nod=between(rng, -0.2, 0.9),
        view=View(side * (np.pi / 2 + between(rng, -0.95, 0.6)), between(rng, 0.02, 0.16)),
        place=place,
    )


class _Sketch:
    """Joints of an animal in its own coordinates and in the image."""

    def __init__(self, animal: Animal, size: tuple[int, int]) -> None:
        self.animal, self.kind = animal, animal.species
        self.scale = animal.place.height * size[0]
        self.yaw = animal.view.yaw
        self.origin = np.array([animal.place.x * size[1], animal.place.ground * size[0]])
        joints = _joints(animal)
        flat = project(joints, animal.view)
        self.joints = joints
        self.points = {name: self.origin + flat[name][:2] * self.scale for name in flat}
        self.near = {name: float(joint[2]) for name, joint in flat.items()}

    def capsule(self, top: str, bottom: str, *radii: float) -> Capsule:
        """A capsule between two joints, half-widths in shoulder heights."""
        shape = np.array(radii) * self.scale
        return Capsule(self.points[top], self.points[bottom], shape, self.yaw)

    def order(self, *names: str) -> float:
        """Nearness of what lies between joints."""
        return sum(self.near[name] for name in names) / len(names)


def _joints(animal: Animal) -> dict[str, np.ndarray]:
    kind = animal.species
    back, half = 1.0 - kind.depth, kind.length / 2
    rise = kind.rise - animal.nod
    forward = np.array([0.0, np.sin(rise), np.cos(rise)])
    joints = {
        'chest': np.array([0.0, back, half - kind.depth]),
        'rump': np.array([0.0, back, -half + kind.depth]),
        'withers': np.array([0.0, back + 0.35 * kind.depth, half - 0.6 * kind.depth]),
        'tail_root': np.array([0.0, back + 0.6 * kind.depth, -half + 0.35 * kind.depth]),
    }
    joints['poll'] = joints['withers'] + kind.neck * forward
    joints['neck'] = joints['withers'] + 0.45 * kind.neck * forward
    face = np.array([0.0, -0.42, 0.9])
    joints['nose'] = joints['poll'] + kind.head * face
    droop = np.array([0.0, -0.85, -0.5])
    joints['tail_end'] = joints['tail_root'] + kind.tail * droop
    breadth = 0.55 * kind.depth
    for number, (side, sign) in enumerate(SIDES):
        out = np.array([sign, 0.0, 0.0])
        joints[f'eye_{side}'] = joints['poll'] + 0.4 * kind.head * face + 0.13 * kind.head * out
        joints[f'eye_{side}'] += np.array([0.0, 0.08 * kind.head, 0.0])
        root = joints['poll'] + 0.16 * kind.head * out
        joints[f'ear_{side}'] = root
        joints[f'tip_{side}'] = root + kind.ear * np.array([0.45 * sign, 0.9, -0.1])
        for name, z, beat in (
            ('fore', half - kind.depth, 0.0),
            ('hind', -half + kind.depth, 2.2),
        ):
            top = np.array([sign * breadth, kind.leg + 0.1, z])
            phase = animal.phase + beat + number * np.pi
            _step(
                joints, f'{name}_{side}', top, phase, animal.stride, -1 if name == 'fore' else 1
            )
    return joints


def _step(
    joints: dict[str, np.ndarray],
    name: str,
    top: np.ndarray,
    phase: float,
    stride: float,
    bend: int,
) -> None:
    """Add the three joints of a leg; ``bend`` is the direction in which the middle one points."""
    swing = np.sin(phase) * stride
    foot = np.array([top[0], 0.03 + 0.1 * stride * max(0.0, np.cos(phase)), top[2]])
    foot[2] += np.sin(swing) * top[1]
    middle = top + 0.48 * (foot - top) + np.array([0.0, 0.0, bend * 0.07])
    joints |= {f'{name}_top': top, f'{name}_mid': middle, f'{name}_paw': foot}


def _trunk(sketch: _Sketch) -> list[Part]:
    kind = sketch.kind
    depth = kind.depth
    coat = _coat(sketch)
    trunk = sketch.capsule('chest', 'rump', depth, depth * 0.94, depth * 0.96)
    neck = sketch.capsule('withers', 'poll', depth * 0.6, 0.24 * kind.head + 0.02)
    tail = sketch.capsule('tail_root', 'tail_end', 0.03, 0.022)
    return [
        Part('trunk', trunk, coat, 0.0),
        Part('nape', neck, coat, 0.02 if sketch.near['poll'] > -0.1 else -0.02),
        Part('tail_hair', tail, _dark(sketch.animal.coat), 0.5 * sketch.near['tail_root']),
    ]


def _legs(sketch: _Sketch) -> list[Part]:
    parts, limb = [], sketch.kind.limb
    coat = _coat(sketch)
    for side, _ in SIDES:
        for name in ('fore', 'hind'):
            top, mid, paw = (f'{name}_{side}_{end}' for end in ('top', 'mid', 'paw'))
            wide = limb * (1.9 if name == 'hind' else 1.5)
            near = sketch.near[top] - sketch.near['chest' if name == 'fore' else 'rump']
            upper = sketch.capsule(top, mid, wide, limb * 1.05)
            lower = sketch.capsule(mid, paw, limb, limb * 0.75)
            order = 0.2 + near if near > 0 else -0.2 + near
            parts.append(Part(f'{name}leg', lower, coat, order, side))
            parts.append(Part(f'{name}leg', upper, coat, order + 1e-3, side))
    return parts


def _head(sketch: _Sketch) -> list[Part]:
    kind, coat = sketch.kind, sketch.animal.coat
    wide = kind.head
    order = 0.1 if sketch.near['nose'] > -0.15 else -0.1
    skull = sketch.capsule('poll', 'nose', 0.27 * wide, 0.25 * wide, 0.17 * wide, 0.14 * wide)
    parts = [Part('skull', skull, _coat(sketch), order)]
    snout = sketch.points['nose']
    tip = Capsule(
        snout, snout + (0.0, 1.0), np.full(2, 0.085 * wide * sketch.scale), sketch.yaw
    )
    if sketch.near['nose'] > sketch.near['poll'] - 0.55 * wide:
        parts.append(Part('skull', tip, (38, 32, 32), order + 0.03))
    for side, _ in SIDES:
        ear = sketch.capsule(f'ear_{side}', f'tip_{side}', 0.05 * wide + 0.014, 0.014)
        near = sketch.near[f'ear_{side}'] > sketch.near['poll']
        parts.append(Part('auricle', ear, _dark(coat), order + (0.02 if near else -0.02), side))
        if _eye_turned(sketch, side):
            continue
        eye = sketch.points[f'eye_{side}']
        ball = Capsule(
            eye, eye + (0.0, 1.0), np.full(2, 0.055 * wide * sketch.scale), sketch.yaw
        )
        parts.append(Part('skull', ball, (18, 16, 18), order + 0.02))
    return parts


def _eye_turned(sketch: _Sketch, side: str) -> bool:
    """Tell whether an eye lies behind the plane through the middle of the head."""
    sign = 1.0 if side == 'l' else -1.0
    return bool(np.cos(sketch.yaw) * 0.45 - sign * np.sin(sketch.yaw) < 0)


def _landmarks(sketch: _Sketch) -> list[Landmark]:
    skull = codes('skull')
    points = sketch.points
    found = [
        Landmark(points[f'eye_{side}'], skull, _eye_turned(sketch, side)) for side, _ in SIDES
    ]
    behind = sketch.near['nose'] < sketch.near['poll'] - 0.55 * sketch.kind.head
    found.append(Landmark(points['nose'], skull, behind))
    found.append(Landmark(points['neck'], codes('nape')))
    found.append(Landmark(points['tail_root'], codes('tail_hair', 'trunk')))
    for name in ('fore', 'hind'):
        for side, _ in SIDES:
            shown = codes(f'{name}leg', sides=(side,))
            found += [
                Landmark(points[f'{name}_{side}_{end}'], shown) for end in ('top', 'mid', 'paw')
            ]
    return found


def _coat(sketch: _Sketch) -> Paint:
    animal, kind = sketch.animal, sketch.kind
    main = np.array(animal.coat, np.float32)
    second = np.array(kind.second, np.float32)
    shift = animal.phase

    def amount(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        if kind.pattern == 'stripes':
            return np.sin(t * 34 + 0.8 * np.sin(2 * angle)) > 0.25
        wave = np.sin(9 * t + shift) + np.sin(2.2 * angle + 2 * shift) + np.sin(5 * t - angle)
        if kind.pattern == 'patches':
            return wave > 0.7
        return (np.sin(40 * t + angle) > 0.55) & (np.sin(9 * angle + shift) > 0.3)

    def paint(t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        share = amount(t, angle)[..., None].astype(np.float32)
        return main + (second - main) * share

    return animal.coat if kind.pattern == 'plain' else paint


def _dark(color: Color) -> Color:
    red, green, blue = color
    return (red * 0.6, green * 0.6, blue * 0.6)
