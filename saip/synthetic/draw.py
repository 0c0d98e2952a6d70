"""Rasterise one person: from skeleton, view and appearance to capsules, drawn far to near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .capsule import Capsule, Paint, Pattern, draw_capsule
from .person import Color, Person
from .pose import Pose, View, project, skeleton
from .textures import head, patterned, torso

# Half-widths of the trunk from neck to seat: seen from the front, and from the side.
TRUNK_WIDTH = np.array([0.042, 0.090, 0.110, 0.109, 0.101, 0.093, 0.088, 0.089, 0.094])
TRUNK_DEPTH = np.array([0.038, 0.052, 0.064, 0.069, 0.069, 0.067, 0.066, 0.068, 0.070])
HEAD_PROFILE = np.array([0.45, 0.80, 0.96, 1.0, 0.97, 0.86, 0.62])


@dataclass(frozen=True)
class Placement:
    """Where a person stands.

    Attributes:
        x: middle of the body, in image widths.
        ground: level of the feet, in image heights from the top.
        height: of the body, in image heights.
    """

    x: float
    ground: float
    height: float


@dataclass(frozen=True)
class Figure:
    """A person at one moment, seen from one side, at one place: all that is needed to draw."""

    person: Person
    pose: Pose
    view: View
    place: Placement


@dataclass(frozen=True)
class Part:
    """A capsule with its paint, the body part it shows, and its place in the drawing order.

    Attributes:
        side: ``l`` or ``r`` for what belongs to a limb.
        regions: codes of what (t, angle) on the surface shows, where it is not one thing.
    """

    name: str
    capsule: Capsule
    paint: Paint
    order: float
    side: str = ''
    regions: Pattern | None = None


def draw_figure(canvas: np.ndarray, figure: Figure, light: float) -> None:
    """Draw a person onto a canvas (H, W, 3) uint8, in place."""
    parts = body_parts(Body(figure, (canvas.shape[0], canvas.shape[1])))
    for part in sorted(parts, key=lambda part: part.order):
        draw_capsule(canvas, part.capsule, part.paint, light)


def body_parts(body: Body) -> list[Part]:
    """Return all parts of a placed body."""
    parts = [*_trunk(body), *_head(body), *_bag(body)]
    for side in ('l', 'r'):
        parts += [*_leg(body, side), *_arm(body, side)]
    return parts


class Body:
    """Projected joints of a figure in pixels, and capsules between them."""

    def __init__(self, figure: Figure, size: tuple[int, int]) -> None:
        self.person = figure.person
        self.yaw = figure.view.yaw
        self.scale = figure.place.height * size[0]
        self.facing = float(np.cos(self.yaw))
        self.joints = skeleton(self.person.build, figure.pose)
        self.view = figure.view
        self.origin = np.array([figure.place.x * size[1], figure.place.ground * size[0]])
        flat = project(self.joints, figure.view)
        self.points = {name: self.origin + flat[name][:2] * self.scale for name in flat}
        self.near = {name: float(joint[2]) for name, joint in flat.items()}

    def see(self, joint: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the image point of a point in body coordinates, and its nearness."""
        flat = project({'': joint}, self.view)['']
        return self.origin + flat[:2] * self.scale, float(flat[2])

    def section(self, width: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Half-width in the image of elliptical sections turned by the view."""
        return np.hypot(width * np.cos(self.yaw), depth * np.sin(self.yaw))

    def capsule(self, top: str, bottom: str, *radii: float) -> Capsule:
        """A capsule between two joints."""
        return self.between(self.points[top], self.points[bottom], *radii)

    def between(self, top: np.ndarray, bottom: np.ndarray, *radii: float) -> Capsule:
        """A capsule between two points, half-widths in body heights."""
        return Capsule(top, bottom, np.array(radii) * self.scale, self.yaw)

    def at(self, x: float, y: float, z: float, joint: str) -> np.ndarray:
        """Image point at an offset in body coordinates (x left, y up, z forward)."""
        right = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        return self.points[joint] + np.array([right, -y]) * self.scale


def _trunk(body: Body) -> list[Part]:
    person = body.person
    build, upper, lower = person.build, person.upper, person.lower
    loose = upper.fit if upper.kind != 'vest' else 0.95
    widths = TRUNK_WIDTH * np.linspace(build.shoulders, build.hips, 9) * loose
    profile = body.section(widths, TRUNK_DEPTH * build.girth * loose) * body.scale
    hem = body.at(0.0, -0.05, 0.0, 'pelvis')

    def hanging(
        name: str, y: float, end: float, shape: np.ndarray, paint: Paint, order: float
    ) -> Part:
        top, bottom = body.at(0.0, y, 0.0, 'pelvis'), body.at(0.0, end, 0.0, 'pelvis')
        return Part(
            name, Capsule(top, bottom, shape, body.yaw, capped=name == 'seat'), paint, order
        )

    trunk = Capsule(body.points['neck'], hem, profile, body.yaw, capped=False)
    neck = body.capsule('chin', 'neck', 0.03, 0.034)
    parts = [
        Part('neck', neck, _darker(person.skin, 0.85), 2.9),
        Part('upper', trunk, torso(person), 3.0),
    ]
    if upper.kind == 'dress' or lower.kind == 'skirt':
        paint = patterned(upper if upper.kind == 'dress' else lower)
        shape = profile[-1] * np.linspace(0.95, 0.9 + 0.4 * lower.fit, 4)
        parts.append(hanging('skirt', 0.03, -0.21, shape, paint, 2.5))
    else:
        parts.append(hanging('seat', 0.045, -0.05, profile[-3:] * 0.93, patterned(lower), 2.4))
    if upper.kind == 'coat':
        shape = profile[-1] * np.linspace(1.02, 1.2, 4)
        parts.append(hanging('tail', -0.05, -0.2, shape, patterned(upper), 2.95))
    if upper.kind == 'hoodie':
        left, right = (body.at(x, 0.012, -0.05, 'neck') for x in (-0.03, 0.03))
        hood = body.between(left, right, 0.036, 0.036)
        parts.append(Part('hood', hood, _darker(upper.color, 0.8), _behind(body, 3.5)))
    return parts


def _head(body: Body) -> list[Part]:
    person, size, strands = body.person, body.person.build.head, body.person.hair.color
    half = float(body.section(np.array(0.05), np.array(0.058))) * size * body.scale
    crown, chin = body.points['crown'], body.points['chin']
    skull = Capsule(crown, chin, HEAD_PROFILE * half, body.yaw, capped=False)
    parts = [Part('head', skull, head(person.hair, person.skin, person.hat), 4.0)]
    if person.hair.style in ('long', 'bob'):
        nape = body.at(0.0, -0.075 * size, -0.028, 'crown')
        fall = body.at(0.0, -0.2 if person.hair.style == 'long' else -0.12, -0.045, 'crown')
        lock = body.between(nape, fall, 0.054 * size, 0.05 * size, 0.04 * size)
        parts.append(Part('hair', lock, strands, _behind(body, 4.2)))
    if person.hair.style == 'bun':
        knot = body.at(0.0, -0.03, -0.062 * size, 'crown')
        bun = body.between(knot, knot + (0.0, 1.0), 0.027, 0.027)
        parts.append(Part('hair', bun, strands, 3.9))
    if person.hat is not None:
        edge = body.at(0.0, -0.045 * size, 0.05, 'crown')
        tip = body.at(0.0, -0.052 * size, 0.09, 'crown')
        brim = body.between(edge, tip, 0.016, 0.009)
        parts.append(Part('hat', brim, _darker(person.hat, 0.7), 4.0 + 0.3 * body.facing))
    return parts


def _leg(body: Body, side: str) -> list[Part]:
    person = body.person
    girth, fit, fabric = (
        0.6 + 0.4 * person.build.girth,
        person.lower.fit,
        patterned(person.lower),
    )
    # The whole leg shares one order, so that the near leg hides the far one.
    order = 1.5 + body.near[f'hip_{side}'] + body.near[f'knee_{side}']
    hip, knee, ankle, toe = (f'{name}_{side}' for name in ('hip', 'knee', 'ankle', 'toe'))
    thigh, shank = (0.063 * girth, 0.045 * girth * fit), (0.041 * girth, 0.036 * girth, 0.024)
    parts = [
        Part('shoe', body.capsule(ankle, toe, 0.025, 0.019), person.shoes, order + 0.002, side)
    ]
    if person.lower.kind == 'skirt' or person.upper.kind == 'dress':
        thigh = (0.060 * girth, 0.042 * girth)
        return [
            *parts,
            Part('leg', body.capsule(knee, ankle, *shank), person.skin, order, side),
            Part('leg', body.capsule(hip, knee, *thigh), person.skin, order + 0.001, side),
        ]
    if person.lower.kind == 'shorts':
        thigh = (0.062 * girth, 0.05 * girth * fit)
        parts.append(Part('leg', body.capsule(knee, ankle, *shank), person.skin, order, side))
        return [
            *parts,
            Part('lower', body.capsule(hip, knee, *thigh), fabric, order + 0.001, side),
        ]
    covered = body.capsule(knee, ankle, 0.045 * girth * fit, 0.034 * fit)
    parts.append(Part('lower', covered, fabric, order + 0.003, side))
    return [*parts, Part('lower', body.capsule(hip, knee, *thigh), fabric, order + 0.004, side)]


def _arm(body: Body, side: str) -> list[Part]:
    person, kind = body.person, body.person.upper.kind
    near = body.near[f'shoulder_{side}'] + body.near[f'elbow_{side}']
    order = (5.0 if near > -0.09 else 0.5) + near
    loose, girth = person.upper.fit, 0.7 + 0.3 * person.build.girth
    shoulder, elbow, wrist, hand = (
        f'{n}_{side}' for n in ('shoulder', 'elbow', 'wrist', 'hand')
    )
    skin, fabric = person.skin, patterned(person.upper)
    parts = [Part('hand', body.capsule(wrist, hand, 0.02, 0.018), skin, order, side)]
    if kind in ('vest', 'tshirt', 'dress'):
        fore = body.capsule(elbow, wrist, 0.026 * girth, 0.019)
        upper = body.capsule(shoulder, elbow, 0.033 * girth, 0.027 * girth)
        parts += [Part('arm', fore, skin, order, side), Part('arm', upper, skin, order, side)]
        if kind == 'vest':
            return parts
        joint = body.points[shoulder]
        cuff = joint + 0.62 * (body.points[elbow] - joint)
        sleeve = body.between(joint, cuff, 0.034 * loose, 0.034 * loose)
        return [*parts, Part('upper', sleeve, fabric, order + 0.001, side)]
    fore = body.capsule(elbow, wrist, 0.030 * loose, 0.024 * loose)
    upper = body.capsule(shoulder, elbow, 0.034 * loose, 0.031 * loose)
    parts.append(Part('upper', fore, fabric, order + 0.001, side))
    return [*parts, Part('upper', upper, fabric, order + 0.002, side)]


def _bag(body: Body) -> list[Part]:
    bag = body.person.bag
    paint, dark = bag.color, _darker(bag.color, 0.65)
    if bag.kind == 'backpack':
        width = float(body.section(np.array(0.082), np.array(0.05)))
        depth = 0.105 * body.person.build.girth
        high = body.at(0.0, -0.085, -depth, 'neck')
        low = body.at(0.0, -0.235, -depth, 'neck')
        pocket = body.at(0.0, -0.2, -depth - 0.02, 'neck')
        order = _behind(body, 3.3)
        pack = body.between(high, low, width * 0.85, width, width)
        flap = body.between(pocket, low, width * 0.68, width * 0.66)
        return [Part('bag', pack, paint, order), Part('bag', flap, dark, order + 0.01)]
    name = 'l' if bag.side > 0 else 'r'
    if bag.kind == 'shoulder':
        spot = body.at(bag.side * 0.115 * body.person.build.hips, 0.0, 0.0, 'pelvis')
        low = spot + np.array([0.0, 0.06 * body.scale])
        width = float(body.section(np.array(0.03), np.array(0.06)))
        order = 5.4 if body.near[f'hip_{name}'] > -0.02 else 0.8
        return [Part('bag', body.between(spot, low, width, width), paint, order)]
    if bag.kind == 'handbag':
        hand = body.points[f'hand_{name}']
        high = hand + np.array([0.0, 0.055 * body.scale])
        low = hand + np.array([0.0, 0.11 * body.scale])
        width = float(body.section(np.array(0.022), np.array(0.06)))
        order = 5.2 if body.near[f'shoulder_{name}'] > -0.05 else 0.2
        handle = body.between(hand, high, 0.008, 0.008)
        return [
            Part('bag', handle, dark, order),
            Part('bag', body.between(high, low, width, width * 1.15), paint, order + 0.01),
        ]
    return []


def _behind(body: Body, order: float) -> float:
    """Order of something on the back: ``order`` from behind, below the body from the front."""
    return order if body.facing < 0.2 else 0.9


def _darker(color: Color, factor: float) -> Color:
    red, green, blue = color
    return (red * factor, green * factor, blue * factor)
