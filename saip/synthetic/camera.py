"""What a camera does to a scene: color cast, exposure, sharpness, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .rng import CAMERA, between, generator
from .scenery import PLACES

GOLDEN_ANGLE = 2.399963


@dataclass(frozen=True)
class Camera:
    """A camera of the network.

    Attributes:
        gains: (red, green, blue) color cast with the exposure.
        gamma: exponent of the tone curve.
        black: light that falls on everything, 0..255.
        saturation: 0 = gray, 1 = unchanged.
        sharpness: share of the crop's resolution that the camera resolves.
        noise: standard deviation of the sensor noise in gray levels.
        quality: JPEG quality.
        place: number of the surroundings that it sees most often.
        pitch: how far it looks down, radians.
        yaw: direction in which most people walk past, radians.
    """

    gains: tuple[float, float, float]
    gamma: float
    black: float
    saturation: float
    sharpness: float
    noise: float
    quality: int
    place: int
    pitch: float
    yaw: float


@dataclass(frozen=True)
class Light:
    """Light of one moment.

    Attributes:
        level: exposure against the camera's mean.
        side: -1 = from the left, 1 = from the right.
        slope: (x, y) change of brightness across the image.
        shadow: height above or below which a shadow falls, in image heights; 0 = none.
        depth: what is left of the light in the shadow.
    """

    level: float
    side: float
    slope: tuple[float, float]
    shadow: float
    depth: float


def sample_camera(seed: int, camera: int) -> Camera:
    """Draw the properties of one camera; neighboring numbers differ in cast and place."""
    rng = generator(seed, CAMERA, camera)
    hue = GOLDEN_ANGLE * camera + between(rng, -0.4, 0.4) + 0.37 * seed
    cast = between(rng, 0.02, 0.03)
    level = (1.0, 0.92, 1.08, 0.96)[camera % 4] * between(rng, 0.97, 1.03)
    red, green, blue = (
        level * (1 + cast * float(np.cos(hue + third * 2 * np.pi / 3))) for third in range(3)
    )
    return Camera(
        gains=(red, green, blue),
        gamma=between(rng, 0.95, 1.07),
        black=between(rng, 0.0, 6.0),
        saturation=between(rng, 0.85, 1.08),
        sharpness=between(rng, 0.55, 1.0),
        noise=between(rng, 1.0, 2.8),
        quality=int(rng.integers(78, 93)),
        place=(camera + seed) % PLACES,
        pitch=between(rng, 0.04, 0.2),
        yaw=between(rng, 0.0, 2 * np.pi),
    )


def expose(
    scene: np.ndarray,
    camera: Camera,
    light: Light,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Turn a drawn scene into the image that a camera takes.

    Args:
        scene: (H, W, 3) uint8 RGB.
        camera: who takes it.
        light: light of the moment.
        size: (h, w) of the image.
        rng: for the sensor noise.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    height, width = size
    seen = (max(round(width * camera.sharpness), 8), max(round(height * camera.sharpness), 16))
    small = cv2.resize(scene, seen, interpolation=cv2.INTER_AREA)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    linear = cv2.transform(image, _color_matrix(camera)).astype(np.float32)
    linear *= _light_map(light, size)[..., None]
    linear += camera.black
    curve = np.power(np.clip(linear, 0, 255) * np.float32(1 / 255), np.float32(camera.gamma))
    noise = rng.standard_normal((height, width, 3), dtype=np.float32)
    return np.clip(curve * 255 + noise * camera.noise + 0.5, 0, 255).astype(np.uint8)


def _color_matrix(camera: Camera) -> np.ndarray:
    gray = np.array([0.299, 0.587, 0.114])
    mixed = camera.saturation * np.eye(3) + (1 - camera.saturation) * gray
    return mixed * np.array(camera.gains)[:, None]


def _light_map(light: Light, size: tuple[int, int]) -> np.ndarray:
    """Brightness per pixel (h, w): a slope, and a shadow with a soft edge."""
    x = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)
    y = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[:, None]
    level = light.level * (1 + light.slope[0] * x + light.slope[1] * y)
    if light.shadow:
        edge = np.sign(light.shadow) * (y + 0.5 - abs(light.shadow)) + 0.25 * light.slope[0] * x
        level = level * (light.depth + (1 - light.depth) * np.clip(edge * 14 + 0.5, 0, 1))
    return level
