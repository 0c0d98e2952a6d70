"""One image of one person: draw all its random numbers, then render them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .camera import Camera, Light, expose, sample_camera
from .draw import Figure, Placement, draw_figure
from .person import sample_person
from .pose import Pose, View
from .rng import SHOT, between, chance, choose, generator
from .scenery import PLACES, backdrop, draw_box, draw_pole

# Scenes are drawn larger than the image and reduced, which smooths their edges.
OVERSAMPLING = 2
# Boxes of people are narrower than a crop's 1:2; cutting them out makes people broader.
BOX_WIDTH = 0.84
DIRECTIONS = 8
# Passers-by are people of their own, never identities of a set.
STRANGERS = 10_000_000

OCCLUDERS = ('none', 'pole', 'box')
OCCLUDER_WEIGHTS = (8.6, 0.7, 0.7)


@dataclass(frozen=True)
class Occluder:
    """Something in front: ``kind`` of ``OCCLUDERS``, place and size in image sizes."""

    kind: str
    x: float
    size: float
    color: tuple[float, float, float]


@dataclass(frozen=True)
class RenderedCrop:
    """Everything that is drawn in one image.

    Attributes:
        figures: people from far to near.
        camera: who looks.
        light: light of the moment.
        place: number of the place, see ``scenery.panorama``.
        window: part of the place behind them, see ``scenery.backdrop``.
        occluder: what stands in front.
        key: (seed, identity, camera, shot).
    """

    figures: tuple[Figure, ...]
    camera: Camera
    light: Light
    place: int
    window: tuple[float, float, float]
    occluder: Occluder
    key: tuple[int, int, int, int]


def plan_crop(seed: int, identity: int, camera: int, shot: int) -> RenderedCrop:
    """Draw all random choices of one image; depends on nothing but the four numbers."""
    rng = generator(seed, SHOT, identity, camera, shot)
    taken_by = sample_camera(seed, camera)
    main = Figure(
        sample_person(seed, identity),
        _sample_pose(rng),
        _sample_view(rng, taken_by),
        _placed(rng),
    )
    figures = [main]
    if chance(rng, 0.2):
        figures.insert(0, _passer_by(rng, seed, taken_by, behind=True))
    if chance(rng, 0.08):
        figures.append(_passer_by(rng, seed, taken_by, behind=False))
    shadow = choose(
        rng, (0.0, between(rng, 0.25, 0.7), -between(rng, 0.3, 0.75)), (7, 1.5, 1.5)
    )
    light = Light(
        level=between(rng, 0.9, 1.1),
        side=between(rng, -1.0, 1.0),
        slope=(between(rng, -0.2, 0.2), between(rng, -0.2, 0.2)),
        shadow=shadow,
        depth=between(rng, 0.55, 0.8),
    )
    window = (between(rng, 0, 1), between(rng, 0.6, 1.0), between(rng, 0.3, 1.0))
    return RenderedCrop(
        figures=tuple(figures),
        camera=taken_by,
        light=light,
        place=taken_by.place if chance(rng, 0.3) else int(rng.integers(PLACES)),
        window=window,
        occluder=_sample_occluder(rng),
        key=(seed, identity, camera, shot),
    )


def plan_misdetection(
    seed: int, identity: int, camera: int, shot: int, person: bool
) -> RenderedCrop:
    """Plan a bad box of a person detector.

    Args:
        seed: seed of the set.
        identity: whose body is partly seen, or any other number to vary the image.
        camera: who looks.
        shot: image number.
        person: True for a badly cut box of that person, False for background without anybody.
    """
    plan = plan_crop(seed, identity, camera, shot)
    if not person:
        return replace(plan, figures=())
    figure, rng = plan.figures[0], generator(seed, SHOT, identity, camera, shot, 1)
    side = 1.0 if chance(rng, 0.5) else -1.0
    place = Placement(
        x=0.5 + side * between(rng, 0.4, 0.6),
        ground=between(rng, 1.1, 1.5),
        height=between(rng, 1.2, 1.7),
    )
    return replace(plan, figures=(replace(figure, place=place),))


def canvas_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (h, w) in which an image of ``size`` (h, w) is drawn."""
    return size[0] * OVERSAMPLING, round(size[1] * OVERSAMPLING * BOX_WIDTH)


def render_crop(shot: RenderedCrop, size: tuple[int, int] = (128, 64)) -> np.ndarray:
    """Draw a planned image, (h, w, 3) uint8 RGB."""
    seed, identity, camera, number = shot.key
    canvas = backdrop(seed, shot.place, shot.window, canvas_size(size))
    for figure in shot.figures:
        ground_shadow(canvas, figure.place, shot.light.side)
        draw_figure(canvas, figure, shot.light.side)
    item = shot.occluder
    if item.kind == 'pole':
        draw_pole(canvas, item.x, 0.06 + 0.08 * item.size, item.color[0])
    elif item.kind == 'box':
        draw_box(canvas, item.x, 0.92 - 0.27 * item.size, 0.4 + 0.5 * item.size, item.color)
    noise = generator(seed, SHOT, identity, camera, number, 2)
    return expose(canvas, shot.camera, shot.light, size, noise)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Encode an (h, w, 3) uint8 RGB image as JPEG.

    Raises:
        RuntimeError: OpenCV could not encode it.
    """
    done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f'cannot encode an image of shape {image.shape} as JPEG')
    return data.tobytes()


def _sample_pose(rng: np.random.Generator) -> Pose:
    walking = chance(rng, 0.85)
    return Pose(
        phase=between(rng, 0, 2 * np.pi),
        stride=between(rng, 0.22, 0.48) if walking else between(rng, 0.0, 0.08),
        bend=between(rng, 0.1, 0.7) if walking else between(rng, 0.05, 1.4),
        lean=between(rng, -0.02, 0.09),
    )


def _sample_view(rng: np.random.Generator, camera: Camera) -> View:
    """One of eight directions, most often the two along the path past the camera."""
    path = round(camera.yaw / (2 * np.pi) * DIRECTIONS)
    turn = choose(rng, range(DIRECTIONS), (3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0))
    yaw = (path + turn) * 2 * np.pi / DIRECTIONS + between(rng, -0.2, 0.2)
    return View(yaw=yaw, pitch=camera.pitch + between(rng, -0.03, 0.05))


def _placed(rng: np.random.Generator) -> Placement:
    """The imperfect box of a detector: off-center, too loose, or with the feet cut off."""
    cut = chance(rng, 0.15)
    tall = between(rng, 1.03, 1.22) if cut else between(rng, 0.85, 0.98)
    top = between(rng, 0.0, 0.04) if cut else between(rng, 0.01, max(0.99 - tall, 0.02))
    return Placement(x=0.5 + between(rng, -0.09, 0.09), ground=top + tall, height=tall)


def _passer_by(rng: np.random.Generator, seed: int, camera: Camera, behind: bool) -> Figure:
    side = 1.0 if chance(rng, 0.5) else -1.0
    tall = between(rng, 0.55, 0.8) if behind else between(rng, 0.95, 1.15)
    reach = between(rng, 0.25, 0.5) if behind else between(rng, 0.42, 0.55)
    place = Placement(
        x=0.5 + side * reach,
        ground=between(rng, 0.78, 0.9) if behind else between(rng, 1.0, 1.12),
        height=tall,
    )
    stranger = sample_person(seed, STRANGERS + int(rng.integers(100_000)))
    return Figure(stranger, _sample_pose(rng), _sample_view(rng, camera), place)


def _sample_occluder(rng: np.random.Generator) -> Occluder:
    tone = between(rng, 40, 170)
    return Occluder(
        kind=choose(rng, OCCLUDERS, OCCLUDER_WEIGHTS),
        x=between(rng, 0.1, 0.9),
        size=between(rng, 0, 1),
        color=(tone, tone * between(rng, 0.8, 1.1), tone * between(rng, 0.7, 1.1)),
    )


def ground_shadow(canvas: np.ndarray, place: Placement, side: float) -> None:
    """Darken the ground under the feet with a soft ellipse."""
    height, width = canvas.shape[:2]
    ground, tall = place.ground * height, place.height * height
    top = int(np.clip(ground - 0.045 * tall, 0, height))
    bottom = int(np.clip(ground + 0.035 * tall, 0, height))
    if bottom <= top:
        return
    x = np.arange(width, dtype=np.float32) - np.float32(place.x * width - 0.05 * side * tall)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(ground)
    far = (x / (0.17 * tall)) ** 2 + (y / (0.03 * tall)) ** 2
    band = canvas[top:bottom]
    band[...] = band * (1 - 0.5 * np.clip(1.2 - far, 0, 1))[..., None]
