"""Flip and colors of a crop: options and draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from saip.errors import InputError
from saip.views.checks import check_share, is_number
from saip.views.random import within

BLUR_SIGMAS = (0.1, 2.0)
COLOR_OPS = ('brightness', 'contrast', 'saturation', 'hue')
MAX_HUE = 0.5
"""Half of the color circle, in both directions: all of it."""

NUMBERS = 2 + 2 * len(COLOR_OPS) + 4
"""Uniform numbers of one view: flip, jitter, factors, order, gray, blur, sigma, solarize."""


@dataclass(frozen=True)
class Jitter:
    """Color jitter.

    With ``probability``, four operations in random order, each with a factor of 1 +- its
    strength (hue: a shift of +- its strength of the color circle).
    """

    probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1

    @property
    def strengths(self) -> tuple[float, ...]:
        """Of the operations in their order."""
        return tuple(getattr(self, name) for name in COLOR_OPS)


@dataclass(frozen=True)
class Augment:
    """What happens to a crop after it is resized; nothing by default.

    Attributes:
        jitter: color jitter; None for none.
        gray: probability of luminance in all channels.
        flip: probability of mirroring left to right.
        blur: probability of a Gaussian blur with sigma from 0.1 to 2 pixels.
        solarize: probability of inverting levels from 128 on.
    """

    jitter: Jitter | None = None
    gray: float = 0.0
    flip: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0

    def draw(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Decide by (M, NUMBERS) uniform numbers; fields of ``CropDraw``."""
        flip, jitter, *rest = numbers.T
        factors, order = np.stack(rest[:4], 1), np.stack(rest[4:8], 1)
        gray, blur, sigma, solarize = rest[8:]
        strengths = np.array((self.jitter or Jitter()).strengths)
        centers = np.array([1.0, 1.0, 1.0, 0.0])
        return {
            'flip': flip < self.flip,
            'jitter': jitter < (self.jitter.probability if self.jitter else 0.0),
            'factors': np.maximum(centers + (2 * factors - 1) * strengths, centers - 1),
            'order': np.argsort(order, axis=1, kind='stable'),
            'gray': gray < self.gray,
            'sigma': np.where(blur < self.blur, within(sigma, *BLUR_SIGMAS), 0.0),
            'solarize': solarize < self.solarize,
        }


def build_augment(where: str, options: Mapping[str, Any] | None) -> Augment:
    """Build from a config's dict; None augments nothing.

    Raises:
        InputError: an unknown key or a value out of its range.
    """
    options = dict(_known(where, Augment, options or {}))
    jitter = options.pop('jitter', None)
    for name, value in options.items():
        check_share(f'{where}.{name}', value)
    if jitter is None:
        return Augment(**options)
    strengths = _known(f'{where}.jitter', Jitter, jitter)
    for name, value in strengths.items():
        _check_strength(f'{where}.jitter.{name}', name, value)
    return Augment(jitter=Jitter(**strengths), **options)


def _check_strength(where: str, name: str, value: Any) -> None:
    if name == 'probability':
        check_share(where, value)
    elif not is_number(value) or value < 0 or (name == 'hue' and value > MAX_HUE):
        limit = f'from 0 to {MAX_HUE}' if name == 'hue' else 'from 0 on'
        raise InputError(f'view recipe, {where}: a number {limit}, not {value!r}')


def _known(where: str, kind: type, options: Any) -> Mapping[str, Any]:
    if not isinstance(options, Mapping):
        raise InputError(f'view recipe, {where}: expected a dict or None, got {options!r}')
    allowed = [f.name for f in fields(kind)]
    for key in options:
        if key not in allowed:
            raise InputError(
                f'view recipe, {where}: unknown key {key!r}; allowed: {", ".join(allowed)}'
            )
    return options
