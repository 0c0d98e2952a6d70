"""Draw a planned scene and read every annotation from what was drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..camera import expose
from ..capsule import angles_of, draw_capsule
from ..draw import Part
from ..rendered_crop import OVERSAMPLING, ground_shadow
from ..rng import SCENE, generator
from ..scenery import backdrop
from .parts import BELONGINGS, CODES, HEAD, code, codes
from .scene import Embodied, Scene, Subject, Thing, draw_thing

Box = tuple[float, float, float, float]
_BELONGINGS = np.zeros(CODES, bool)
_BELONGINGS[sorted(codes(*BELONGINGS))] = True


@dataclass(frozen=True)
class Seen:
    """One subject as the image shows it; boxes are (x0, y0, x1, y1) in pixels.

    Attributes:
        full: box of the whole body without what is carried, also outside of the image.
        head: box of the whole head.
        landmarks: (K, 3) x, y and 0 = outside of the image, of the visible box, or on the far
            side of the head, 1 = hidden, 2 = visible; pixel centers are whole numbers.
        turned_away: the face cannot be seen from here.
    """

    subject: Subject
    full: Box
    head: Box
    landmarks: np.ndarray
    turned_away: bool


@dataclass(frozen=True)
class Annotated:
    """An image and all that is known of it; every format says a part of it in its own words.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        owners: (h, w) int32, ``number of the subject * CODES + code`` of what is seen, counted
            from 1; 0 where it is nobody.
        seen: the subjects, far to near.
        quality: of its JPEG file.
        main: number of the subject that it is about, for crops.
    """

    image: np.ndarray
    owners: np.ndarray
    seen: tuple[Seen, ...]
    quality: int
    main: int = 0

    @cached_property
    def _people(self) -> np.ndarray:
        """Number of the subject whose body is seen, from 1; what is carried is nobody."""
        return np.where(_BELONGINGS[self.owners % CODES], 0, self.owners // CODES)

    def mask(self, number: int) -> np.ndarray:
        """Return the visible body of a subject, (h, w) bool."""
        return self._people == number + 1

    def visible(self, number: int) -> Box | None:
        """Return the box of the visible body of a subject; None if there is none."""
        return box_of(self.mask(number))

    def parts(self, number: int, table: np.ndarray) -> np.ndarray:
        """Return a part map of a subject, (h, w) uint8; ``table`` (CODES,) has the labels."""
        own = self.owners // CODES == number + 1
        return np.where(own, table[self.owners % CODES], 0).astype(np.uint8)

    def shows(self, number: int, *names: str) -> int:
        """Count the pixels in which parts of a subject are seen."""
        return int(self.shown(number, codes(*names)).sum())

    def shown(self, number: int, parts: frozenset[int]) -> np.ndarray:
        """Return where parts of a subject are seen, by their codes, (h, w) bool."""
        return np.isin(self.owners, [(number + 1) * CODES + part for part in sorted(parts)])


def box_of(mask: np.ndarray) -> Box | None:
    """Return the box around the true pixels of (h, w) bool; None if there are none."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def render_scene(scene: Scene) -> Annotated:
    """Draw a scene and annotate it; the same alone and among others."""
    height, width = scene.size
    large = (height * OVERSAMPLING, width * OVERSAMPLING)
    canvas = backdrop(scene.key[0], scene.place, scene.window, large)
    owners = np.zeros(large, np.int32)
    bodies = [subject.embody(large) for subject in scene.subjects]
    for item in scene.order():
        if isinstance(item, Thing):
            draw_thing(canvas, owners, item)
            continue
        ground_shadow(canvas, scene.subjects[item].place, scene.light.side)
        for part in bodies[item].parts:
            draw_part(canvas, owners, part, (item + 1) * CODES, scene.light.side)
    # Of every block of canvas pixels the one nearest to its middle stands for it.
    small = np.ascontiguousarray(owners[OVERSAMPLING // 2 :: OVERSAMPLING, 1::OVERSAMPLING])
    noise = generator(scene.key[0], SCENE, *scene.key[1:], 1)
    image = expose(canvas, scene.camera, scene.light, scene.size, noise)
    seen = [
        _see(number, subject, body, small)
        for number, (subject, body) in enumerate(zip(scene.subjects, bodies, strict=True))
    ]
    return Annotated(image, small, tuple(seen), scene.camera.quality, scene.main)


def draw_part(
    canvas: np.ndarray, owners: np.ndarray, part: Part, first: int, light: float
) -> None:
    """Draw a part into the image (H, W, 3) and, with the same outline, into the owners (H, W)."""
    cover = draw_capsule(canvas, part.capsule, part.paint, light)
    if cover is None:
        return
    (x0, y0, x1, y1), mask = cover
    inside = mask >= 128
    region = owners[y0:y1, x0:x1]
    if part.regions is None:
        region[inside] = first + code(part.name, part.side)
    else:
        shown = part.regions(*angles_of(part.capsule, (x0, y0, x1, y1)))
        region[inside] = first + shown[inside].astype(np.int32)


def _see(number: int, subject: Subject, body: Embodied, owners: np.ndarray) -> Seen:
    own = [part for part in body.parts if part.name not in BELONGINGS]
    full = _outline(own)
    visible = box_of((owners // CODES == number + 1) & ~_BELONGINGS[owners % CODES])
    points = _judge(body, owners, (number + 1) * CODES)
    if visible is not None:
        x, y, state = points.T
        # Hidden landmarks around which nothing of the body is seen are left out, as people would.
        inside = (x >= visible[0]) & (x < visible[2]) & (y >= visible[1]) & (y < visible[3])
        points = np.where(((state > 1) | inside)[:, None], points, 0.0)
        # The rim of a capsule covers up to half a pixel more than its outline.
        least, most = np.minimum(full, visible).tolist(), np.maximum(full, visible).tolist()
        full = (least[0], least[1], most[2], most[3])
    head = _outline([part for part in own if part.name in HEAD])
    return Seen(subject, full, head, points, body.turned_away)


def _judge(body: Embodied, owners: np.ndarray, first: int) -> np.ndarray:
    """Return x, y and visibility of landmarks, (K, 3)."""
    height, width = owners.shape
    found = np.zeros((len(body.landmarks), 3))
    for row, landmark in zip(found, body.landmarks, strict=True):
        x, y = (landmark.point + 0.5) / OVERSAMPLING - 0.5
        column, line = math.floor(x + 0.5), math.floor(y + 0.5)
        outside = not (0 <= column < width and 0 <= line < height)
        if outside or (body.turned_away and landmark.turned):
            continue
        around = owners[max(line - 1, 0) : line + 2, max(column - 1, 0) : column + 2]
        shown = any(int(owner) - first in landmark.parts for owner in around.flat)
        row[:] = (x, y, 2 if shown and not landmark.turned else 1)
    return found


def _outline(parts: list[Part]) -> Box:
    corners = np.concatenate([part.capsule.outline() for part in parts])
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    scale = OVERSAMPLING
    return (x0 + 0.5) / scale, (y0 + 0.5) / scale, (x1 + 0.5) / scale, (y1 + 0.5) / scale
