"""Rasterise one person: from skeleton, view and appearance to capsules, drawn far to near."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
    parts = figure_parts(figure, (canvas.shape[0], canvas.shape[1]))
    for part in sorted(parts, key=lambda part: part.order):
        draw_capsule(canvas, part.capsule, part.paint, light)


def figure_parts(figure: Figure, size: tuple[int, int]) -> list[Part]:
    """Return all parts of a person in an image of ``size`` (h, w); higher order is nearer."""
    return body_parts(Body(figure, size))


def body_parts(body: Body) -> list[Part]:
    """Return all parts of a placed body."""
    parts = [*_trunk(body), *_head(body), *_bag(body)]
    for side in ('l', 'r'):
        parts += _sided(_leg(body, side), side)
        parts += _sided(_arm(body, side), side)
    return parts


def _sided(parts: Iterable[Part], side: str) -> list[Part]:
    return [replace(part, side=side) for part in parts]


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
    build, upper = person.build, person.upper
    loose = upper.fit if upper.kind != 'vest' else 0.95
    widths = TRUNK_WIDTH * np.linspace(build.shoulders, build.hips, 9) * loose
    profile = body.section(widths, TRUNK_DEPTH * build.girth * loose) * body.scale
    hem = body.at(0.0, -0.05, 0.0, 'pelvis')
    cloth = torso(person)
    trunk = Capsule(body.points['neck'], hem, profile, body.yaw, capped=False)
    neck = body.capsule('chin', 'neck', 0.03, 0.034)
    parts = [
        Part('neck', neck, _darker(person.skin, 0.85), 2.9),
        Part('upper', trunk, cloth, 3.0),
    ]
    lower, paint = person.lower, patterned(person.lower)
    seat = Capsule(
        body.at(0.0, 0.045, 0.0, 'pelvis'), hem, profile[-3:] * 0.93, body.yaw, capped=True
    )
    if upper.kind == 'dress':
        lower, paint = replace(lower, kind='skirt'), patterned(upper)
    if lower.kind == 'skirt':
        flare = 0.9 + 0.4 * lower.fit
        shape = profile[-1] * np.linspace(0.95, flare, 4)
        tail = body.at(0.0, -0.21, 0.0, 'pelvis')
        top = body.at(0.0, 0.03, 0.0, 'pelvis')
        parts.append(
            Part('skirt', Capsule(top, tail, shape, body.yaw, capped=False), paint, 2.5)
        )
    else:
        parts.append(Part('seat', seat, paint, 2.4))
    if upper.kind == 'coat':
        shape = profile[-1] * np.linspace(1.02, 1.2, 4)
        skirt = Capsule(hem, body.at(0.0, -0.2, 0.0, 'pelvis'), shape, body.yaw, capped=False)
        parts.append(Part('tail', skirt, patterned(upper), 2.95))
    if upper.kind == 'hoodie':
        hood = body.between(
            body.at(-0.03, 0.012, -0.05, 'neck'),
            body.at(0.03, 0.012, -0.05, 'neck'),
            0.036,
            0.036,
        )
        parts.append(Part('hood', hood, _darker(upper.color, 0.8), _behind(body, 3.5)))
    return parts


def _head(body: Body) -> list[Part]:
    person, size = body.person, body.person.build.head
    crown, chin = body.points['crown'], body.points['chin']
    half = float(body.section(np.array(0.05), np.array(0.058))) * size * body.scale
    skull = Capsule(crown, chin, HEAD_PROFILE * half, body.yaw, capped=False)
    parts = [Part('head', skull, head(person.hair, person.skin, person.hat), 4.0)]
    strands = person.hair.color
    nape = body.at(0.0, -0.075 * size, -0.028, 'crown')
    if person.hair.style in ('long', 'bob'):
        fall = body.at(0.0, -0.2 if person.hair.style == 'long' else -0.12, -0.045, 'crown')
        lock = body.between(nape, fall, 0.054 * size, 0.05 * size, 0.04 * size)
        parts.append(Part('hair', lock, strands, _behind(body, 4.2)))
    if person.hair.style == 'bun':
        knot = body.at(0.0, -0.03, -0.062 * size, 'crown')
        parts.append(
            Part('hair', body.between(knot, knot + (0.0, 1.0), 0.027, 0.027), strands, 3.9)
        )
    if person.hat is not None:
        edge = body.at(0.0, -0.045 * size, 0.05, 'crown')
        tip = body.at(0.0, -0.052 * size, 0.09, 'crown')
        brim = body.between(edge, tip, 0.016, 0.009)
        parts.append(Part('hat', brim, _darker(person.hat, 0.7), 4.0 + 0.3 * body.facing))
    return parts


def _leg(body: Body, side: str) -> list[Part]:
    person = body.person
    lower, girth = person.lower, 0.6 + 0.4 * person.build.girth
    # The whole leg shares one order, so that the near leg hides the far one.
    order = 1.5 + body.near[f'hip_{side}'] + body.near[f'knee_{side}']
    thigh = body.capsule(f'hip_{side}', f'knee_{side}', 0.060 * girth, 0.042 * girth)
    shank = body.capsule(f'knee_{side}', f'ankle_{side}', 0.041 * girth, 0.036 * girth, 0.024)
    shoe = body.capsule(f'ankle_{side}', f'toe_{side}', 0.025, 0.019)
    skin, cloth = person.skin, patterned(lower)
    parts = [Part('shoe', shoe, person.shoes, order + 0.002)]
    bare = lower.kind == 'skirt' or person.upper.kind == 'dress'
    if bare:
        return [
            *parts,
            Part('leg', shank, skin, order),
            Part('leg', thigh, skin, order + 0.001),
        ]
    fit = lower.fit
    if lower.kind == 'shorts':
        thigh = body.capsule(f'hip_{side}', f'knee_{side}', 0.062 * girth, 0.05 * girth * fit)
        parts.append(Part('leg', shank, skin, order))
        return [*parts, Part('lower', thigh, cloth, order + 0.001)]
    thigh = body.capsule(f'hip_{side}', f'knee_{side}', 0.063 * girth, 0.045 * girth * fit)
    shank = body.capsule(f'knee_{side}', f'ankle_{side}', 0.045 * girth * fit, 0.034 * fit)
    parts.append(Part('lower', shank, cloth, order + 0.003))
    return [*parts, Part('lower', thigh, cloth, order + 0.004)]


def _arm(body: Body, side: str) -> list[Part]:
    person, kind = body.person, body.person.upper.kind
    near = body.near[f'shoulder_{side}'] + body.near[f'elbow_{side}']
    order = (5.0 if near > -0.09 else 0.5) + near
    loose = person.upper.fit
    girth = 0.7 + 0.3 * person.build.girth
    skin, cloth = person.skin, patterned(person.upper)
    hand = body.capsule(f'wrist_{side}', f'hand_{side}', 0.02, 0.018)
    bare_upper = body.capsule(f'shoulder_{side}', f'elbow_{side}', 0.033 * girth, 0.027 * girth)
    bare_fore = body.capsule(f'elbow_{side}', f'wrist_{side}', 0.026 * girth, 0.019)
    parts = [Part('hand', hand, skin, order)]
    if kind == 'vest':
        return [
            *parts,
            Part('arm', bare_fore, skin, order),
            Part('arm', bare_upper, skin, order),
        ]
    if kind in ('tshirt', 'dress'):
        joint, elbow = body.points[f'shoulder_{side}'], body.points[f'elbow_{side}']
        cuff = joint + 0.62 * (elbow - joint)
        sleeve = body.between(joint, cuff, 0.034 * loose, 0.034 * loose)
        parts += [Part('arm', bare_fore, skin, order), Part('arm', bare_upper, skin, order)]
        return [*parts, Part('upper', sleeve, cloth, order + 0.001)]
    fore = body.capsule(f'elbow_{side}', f'wrist_{side}', 0.030 * loose, 0.024 * loose)
    upper = body.capsule(f'shoulder_{side}', f'elbow_{side}', 0.034 * loose, 0.031 * loose)
    parts.append(Part('upper', fore, cloth, order + 0.001))
    return [*parts, Part('upper', upper, cloth, order + 0.002)]


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
