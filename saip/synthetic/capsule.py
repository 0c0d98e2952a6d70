"""The one shape people are drawn with: a capsule with a width profile, shaded as if round.

Along a capsule runs ``t`` (0 at the top end, 1 at the bottom end); around it runs ``angle``, the
direction on the body's surface (0 = front, pi/2 = the person's left). A paint is a function of
both, so patterns follow the body part and turn with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .person import Color

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
Paint = Color | Pattern
# A box (x0, y0, x1, y1) of pixels, and the covered share of each, (y1 - y0, x1 - x0) uint8.
Cover = tuple[tuple[int, int, int, int], np.ndarray]

_SHIFT = 4
_STEPS = np.linspace(0.0, 1.0, 256)
_RAMP = np.linspace(-1.0, 1.0, 128, dtype=np.float32)


@dataclass(frozen=True)
class Capsule:
    """A capsule in image coordinates (pixels).

    Attributes:
        top: (2,) start of the axis.
        bottom: (2,) end of the axis.
        profile: half-widths at equal distances along the axis, at least two.
        yaw: by how much the surface is turned from facing the camera, radians.
        capped: round off both ends.
    """

    top: np.ndarray
    bottom: np.ndarray
    profile: np.ndarray
    yaw: float
    capped: bool = True

    def axis(self) -> tuple[float, float, float]:
        """Return the unit vector (x, y) along the capsule and its length."""
        x, y = (self.bottom - self.top).tolist()
        length = max(math.hypot(x, y), 1e-3)
        return x / length, y / length, length

    def surface(self, t: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points of the surface are seen, and which face the camera.

        Args:
            t: (N,) shares of the length.
            angle: (N,) directions on the surface.

        Returns:
            (N, 2) pixels and (N,) bool.
        """
        x, y, length = self.axis()
        places = np.linspace(0.0, 1.0, len(self.profile))
        reach = np.sin(angle + self.yaw) * np.interp(t, places, self.profile)
        along = np.asarray(t) * length
        points = self.top + np.stack([along * x + reach * y, along * y - reach * x], axis=-1)
        return points, np.cos(angle + self.yaw) > 0

    def outline(self) -> np.ndarray:
        """Return the polygon of the capsule, (N, 2) pixels."""
        x, y, length = self.axis()
        along, reach = _contour(len(self.profile), self.capped)
        local = (reach @ self.profile).reshape(-1, 2)
        local[:, 0] += along * length
        return local @ np.array([[x, y], [-y, x]]) + self.top


def draw_capsule(
    canvas: np.ndarray, capsule: Capsule, paint: Paint, light: float
) -> Cover | None:
    """Draw a capsule onto a canvas, in place.

    Args:
        canvas: (H, W, 3) uint8.
        capsule: what to draw; parts outside the canvas are cut off.
        paint: one color, or the colors (h, w, 3) of surface points (t, angle), each (h, w).
        light: where the light comes from, -1 = left of the image, 1 = right.

    Returns:
        What it covers, see ``cover_of``.
    """
    cover = cover_of(capsule, (canvas.shape[0], canvas.shape[1]))
    if cover is None:
        return None
    (x0, y0, x1, y1), mask = cover
    t, across = _surface(capsule, x0, y0, x1, y1)
    if callable(paint):
        color = paint(t, np.arcsin(across) - np.float32(capsule.yaw))
        shade = _shade(across, light)
        painted = cv2.convertScaleAbs(cv2.multiply(color, cv2.merge([shade, shade, shade])))
    else:
        ramp = np.minimum(_shade(_RAMP, light)[:, None] * np.array(paint), 255).astype(np.uint8)
        painted = ramp[((across + 1) * ((len(_RAMP) - 1) / 2)).astype(np.uint8)]
    region = canvas[y0:y1, x0:x1]
    share = mask * np.float32(1 / 255)
    region[...] = cv2.blendLinear(painted, region, share, 1 - share)
    return cover


def cover_of(capsule: Capsule, size: tuple[int, int]) -> Cover | None:
    """Return which pixels of a canvas of ``size`` (h, w) a capsule covers.

    Returns:
        The box (x0, y0, x1, y1) that it can reach and its share of every pixel there,
        (y1 - y0, x1 - x0) uint8 of 255; None where it is outside of the canvas.
    """
    outline = capsule.outline()
    height, width = size
    (left, upper), (right, lower) = outline.min(0).tolist(), outline.max(0).tolist()
    x0, y0 = max(math.floor(left) - 1, 0), max(math.floor(upper) - 1, 0)
    x1, y1 = min(math.ceil(right) + 2, width), min(math.ceil(lower) + 2, height)
    if x1 <= x0 or y1 <= y0:
        return None
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    corners = np.rint((outline - (x0, y0)) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    return (x0, y0, x1, y1), mask


def angles_of(
    capsule: Capsule, box: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface coordinates (t, angle) seen in a box of pixels, each (h, w)."""
    t, across = _surface(capsule, *box)
    return t, np.arcsin(across) - np.float32(capsule.yaw)


def _shade(across: np.ndarray, light: float) -> np.ndarray:
    """Brightness of a round surface at places across it in [-1, 1]."""
    return 1.03 + across * (0.12 * light - 0.21 * across)


@lru_cache(maxsize=64)
def _contour(count: int, capped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Outline of a capsule along the y axis, as a linear function of its length and half-widths.

    Returns:
        (N,) share of the length of every corner, and (2 N, count) factors that turn half-widths
        into (along, across) offsets.
    """
    turn = np.linspace(0.0, np.pi, 8)[1:-1] if capped else np.zeros(0)
    down = [(step / (count - 1), step, 0.0, 1.0) for step in range(count)]
    bottom = [(1.0, count - 1, math.sin(a), math.cos(a)) for a in turn]
    up = [(share, step, 0.0, -1.0) for share, step, _, _ in reversed(down)]
    top = [(0.0, 0, -math.sin(a), -math.cos(a)) for a in turn]
    corners = down + bottom + up + top
    factors = np.zeros((len(corners), 2, count))
    for row, (_, step, along, across) in zip(factors, corners, strict=True):
        row[:, step] = (along, across)
    return np.array([corner[0] for corner in corners]), factors.reshape(-1, count)


def _surface(
    capsule: Capsule, x0: int, y0: int, x1: int, y1: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return t in [0, 1] and the place across the capsule in [-1, 1] for a box of pixels."""
    right, down, length = capsule.axis()
    x = np.arange(x0, x1, dtype=np.float32) - np.float32(capsule.top[0])
    y = (np.arange(y0, y1, dtype=np.float32) - np.float32(capsule.top[1]))[:, None]
    t = np.minimum(np.maximum(x * (right / length) + y * (down / length), 0.0), 1.0)
    places = np.linspace(0.0, 1.0, len(capsule.profile))
    # Looked up in steps of 1/255: interpolating for every pixel would cost a third of the time.
    narrow = 1 / np.maximum(np.interp(_STEPS, places, capsule.profile), 1e-3)
    # Right of the image is positive when the capsule hangs down.
    across = (x * down - y * right) * narrow.astype(np.float32)[(t * 255).astype(np.uint8)]
    return t, np.minimum(np.maximum(across, -1.0), 1.0)
