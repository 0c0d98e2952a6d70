"""Cost of an image against the work of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from suite.figures import Curve, Part
from suite.interleaved import interleave
from suite.sizes import Sizes
from suite.training import build, images, model_config, train_step, wrapper_of

UNIT = 'CPU seconds an image'
PRESET = 'saip'


@dataclass(frozen=True)
class Point:
    """A step that is measured.

    Attributes:
        encoder: see :class:`Sizes`.
        count: images.
        options: of the model, by dotted key.
    """

    encoder: str
    count: int
    options: dict[str, Any] = field(default_factory=dict)

    def stepper(self) -> Callable[[], None]:
        """A step that can be repeated."""
        model = build(model_config(PRESET, self.encoder, self.options))
        wrapper, data = wrapper_of(model, 'float32'), images(self.count)
        return lambda: train_step(model, wrapper, data, 0)


def measure(sizes: Sizes) -> Part:
    """One curve after the other; the points of each in turn."""
    return Part(
        curves=[
            Curve(name, axis, UNIT, list(costs(points, sizes.curve_rounds)))
            for name, axis, points in curves_of(sizes)
        ]
    )


def curves_of(sizes: Sizes) -> Iterator[tuple[str, str, dict[str, Point]]]:
    """Name, axis and points of every curve."""
    encoder, batch = sizes.encoder, sizes.batch

    def varied(key: str, values: tuple[int, ...]) -> dict[str, Point]:
        return {f'{n:,}': Point(encoder, batch, {key: n}) for n in values}

    yield 'batch', 'images a step', {str(n): Point(encoder, n) for n in sizes.batches}
    crops = 'data_preprocessor.views.local_crops.number'
    yield 'views', 'local crops an image', varied(crops, sizes.local_crops)
    by_size = {f'{n}x{n // 2}': Point(encoder, batch, size_options(n)) for n in sizes.heights}
    yield 'image_size', 'image size', by_size
    prototypes = 'objectives.csm.neck.out_channels'
    yield 'prototypes', 'prototypes', varied(prototypes, sizes.prototypes)
    yield 'encoders', 'encoder', {name: Point(name, batch) for name in sizes.encoders}


def size_options(height: int) -> dict[str, Any]:
    """Views of another size."""
    return {
        'data_preprocessor.size': (height, height // 2),
        'data_preprocessor.views.local_crops.size': (height // 2, height // 4),
    }


def costs(points: dict[str, Point], rounds: int) -> Iterator[tuple[str, float]]:
    """Median cost of an image at every point."""
    times = interleave({at: point.stepper() for at, point in points.items()}, rounds)
    for at, point in points.items():
        yield at, times.median(at) / point.count
