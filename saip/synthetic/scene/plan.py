"""Draw all random numbers of a scene: who is where, how they stand, who looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..camera import Camera, sample_camera
from ..draw import Figure, Placement
from ..pose import View
from ..rng import SCENE, between, chance, generator
from ..scenery import PLACES
from .actor import Actor
from .animal import sample_animal
from .character import Character, sample_character
from .poses import sample_pose
from .scene import Scene, sample_light
from .things import sample_thing

CROWD, PORTRAIT, ANIMALS = range(3)
# Characters of crowds; those of portraits are counted from 0.
_STRANGERS = 1_000_000
_CAMERAS = 8


@dataclass(frozen=True)
class Crowding:
    """How full a scene is; heights in image heights.

    Attributes:
        people: least and greatest number of people.
        heights: of the smallest and the largest adult.
        huddle: chance that somebody stands close to the one before.
        things: chance of each of two things among the people.
        far_group: chance of a group in the distance that nobody could count.
    """

    people: tuple[int, int]
    heights: tuple[float, float]
    huddle: float = 0.4
    things: float = 0.25
    far_group: float = 0.0


def plan_crowd(seed: int, number: int, size: tuple[int, int], crowding: Crowding) -> Scene:
    """Plan a scene with several people; depends on nothing but the arguments."""
    rng = generator(seed, SCENE, CROWD, number)
    camera = _sharp(rng, sample_camera(seed, 1 + int(rng.integers(_CAMERAS))))
    horizon, eye = between(rng, 0.2, 0.36), between(rng, 0.75, 1.15)
    actors: list[Actor] = []
    if chance(rng, crowding.far_group):
        actors += _far_group(rng, seed, horizon, camera)
    x = between(rng, 0.15, 0.85)
    height = 0.0
    for _ in range(int(rng.integers(crowding.people[0], crowding.people[1] + 1))):
        close = height > 0 and chance(rng, crowding.huddle)
        low, high = np.log(crowding.heights)
        if close:
            step = between(rng, 0.14, 0.4) * height * size[0] / size[1]
            x = min(max(x + (step if chance(rng, 0.5) else -step), 0.0), 1.0)
            height = height * between(rng, 0.85, 1.18)
        else:
            x, height = between(rng, 0.04, 0.96), float(np.exp(between(rng, low, high)))
        height = min(max(height, crowding.heights[0]), crowding.heights[1])
        character = sample_character(seed, _STRANGERS + int(rng.integers(10_000_000)))
        place = Placement(x, horizon + eye * height, height * character.stature)
        actors.append(_act(rng, character, camera, place))
    things = []
    for _ in range(2):
        if chance(rng, crowding.things):
            tall = min(float(np.exp(between(rng, *np.log(crowding.heights)))), 0.6)
            spot = between(rng, 0.0, 1.0)
            things.append(sample_thing(rng, spot, horizon + eye * tall, tall))
    actors.sort(key=lambda actor: actor.place.ground)
    return Scene(
        size=size,
        subjects=tuple(actors),
        things=tuple(things),
        camera=camera,
        light=sample_light(rng),
        place=int(rng.integers(PLACES)),
        window=(between(rng, 0, 1), between(rng, 0.7, 1.0), between(rng, 0.3, 1.0)),
        key=(seed, CROWD, number),
    )


def plan_portrait(
    seed: int, identity: int, shot: int, size: tuple[int, int], lively: bool = False
) -> Scene:
    """Plan a crop around one character, the scene's ``main``.

    Args:
        seed: seed of the set.
        identity: who it is.
        shot: number of the image of that identity.
        size: (h, w) of the image.
        lively: all kinds of poses, not only people walking and standing.
    """
    rng = generator(seed, SCENE, PORTRAIT, identity, shot)
    camera = sample_camera(seed, 1 + int(rng.integers(_CAMERAS)))
    camera = replace(camera, sharpness=0.5 + 0.5 * camera.sharpness)
    tall = between(rng, 0.86, 0.97)
    if chance(rng, 0.18):
        tall = between(rng, 1.05, 1.5)
    top = between(rng, 0.01, max(0.985 - tall, 0.02))
    place = Placement(0.5 + between(rng, -0.07, 0.07), top + tall, tall)
    main = _act(rng, sample_character(seed, identity), camera, place, lively)
    actors = [main]
    for front, share in ((False, 0.25), (True, 0.1)):
        if chance(rng, share):
            side = 1.0 if chance(rng, 0.5) else -1.0
            height = tall * (between(rng, 1.0, 1.1) if front else between(rng, 0.65, 0.9))
            reach = between(rng, 0.45, 0.62) if front else between(rng, 0.3, 0.55)
            ground = top + tall + (0.03 if front else -between(rng, 0.03, 0.12))
            spot = Placement(0.5 + side * reach, ground, height)
            stranger = sample_character(seed, _STRANGERS + int(rng.integers(10_000_000)))
            actors.append(_act(rng, stranger, camera, spot))
    actors.sort(key=lambda actor: actor.place.ground)
    return Scene(
        size=size,
        subjects=tuple(actors),
        things=(),
        camera=camera,
        light=sample_light(rng),
        place=int(rng.integers(PLACES)),
        window=(between(rng, 0, 1), between(rng, 0.6, 1.0), between(rng, 0.3, 1.0)),
        key=(seed, PORTRAIT, identity, shot),
        main=next(number for number, actor in enumerate(actors) if actor is main),
    )


def plan_animals(seed: int, number: int, size: tuple[int, int]) -> Scene:
    """Plan a scene with one animal, or two; depends on nothing but the arguments."""
    rng = generator(seed, SCENE, ANIMALS, number)
    animals = []
    for index in range(2 if chance(rng, 0.25) else 1):
        tall = between(rng, 0.3, 0.5) if index else between(rng, 0.4, 0.7)
        place = Placement(between(rng, 0.3, 0.7), between(rng, 0.5, 0.6) + 0.5 * tall, tall)
        animals.append(sample_animal(seed, 2 * number + index, place))
    animals.sort(key=lambda animal: animal.place.ground)
    return Scene(
        size=size,
        subjects=tuple(animals),
        things=(),
        camera=sample_camera(seed, 1 + int(rng.integers(_CAMERAS))),
        light=sample_light(rng),
        place=int(rng.integers(PLACES)),
        window=(between(rng, 0, 1), between(rng, 0.7, 1.0), between(rng, 0.5, 1.0)),
        key=(seed, ANIMALS, number),
    )


def _act(
    rng: np.random.Generator,
    character: Character,
    camera: Camera,
    place: Placement,
    lively: bool = True,
) -> Actor:
    # Half of all people face the camera more or less.
    yaw = between(rng, -0.9, 0.9) if chance(rng, 0.5) else between(rng, 0, 2 * np.pi)
    view = View(yaw=yaw, pitch=camera.pitch + between(rng, -0.03, 0.05))
    pose = sample_pose(rng, character, lively)
    return Actor(character, Figure(character.person, pose, view, place))


def _far_group(
    rng: np.random.Generator, seed: int, horizon: float, camera: Camera
) -> list[Actor]:
    height, x = between(rng, 0.07, 0.1), between(rng, 0.15, 0.85)
    actors = []
    for _ in range(int(rng.integers(6, 12))):
        character = sample_character(seed, _STRANGERS + int(rng.integers(10_000_000)))
        place = Placement(
            x + between(rng, -0.09, 0.09),
            horizon + height * between(rng, 0.9, 1.1),
            height * character.stature,
        )
        actors.append(replace(_act(rng, character, camera, place, lively=False), group=1))
    return actors


def _sharp(rng: np.random.Generator, camera: Camera) -> Camera:
    """A camera for whole scenes resolves more than one whose images are cut into crops."""
    return replace(camera, sharpness=between(rng, 0.85, 1.0))
