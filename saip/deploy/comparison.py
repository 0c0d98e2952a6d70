"""How far the outputs of an exported file are from those of the network that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saip.deploy.program import Output
from saip.errors import InputError

TOLERANCE = 1e-4
"""Largest difference in float32, relative to the largest value where that is above 1."""

DECODED_SHARE = 0.01
"""Share of the values of a decoded output that may differ: where two maxima are nearly equal."""


class DifferenceError(InputError):
    """An exported file computes something else than the network that it came from."""


@dataclass(frozen=True)
class Comparison:
    """An output of the source and of the file, over all images.

    Attributes:
        output: which.
        difference: largest absolute one.
        largest: absolute value of the source.
        cosine: of the values of both after the mean over the images, of the source, is taken off:
            where features share a large mean, a plain cosine says nothing.
        differing: share of the values that differ by more than the tolerance.
    """

    output: Output
    difference: float
    largest: float
    cosine: float
    differing: float

    @property
    def equal(self) -> bool:
        """Whether the difference is within the tolerance of float32."""
        if self.output.decoded:
            return self.differing <= DECODED_SHARE
        return self.difference <= TOLERANCE * max(1.0, self.largest)

    def __str__(self) -> str:
        """One line for the screen."""
        text = (
            f'{self.output.name}: largest difference {self.difference:.2e} (values up to '
            f'{self.largest:.3g}), cosine of centered values {self.cosine:.6f}'
        )
        if not self.output.decoded:
            return text
        return f'{text}, {100 * self.differing:.2f} % of the values differ'


def compare_outputs(
    outputs: Sequence[Output], source: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> list[Comparison]:
    """Compare outputs (N, ...) of N images by name.

    Raises:
        DifferenceError: shapes differ, or a value is not finite.
    """
    return [_compare(output, source[output.name], found[output.name]) for output in outputs]


def _compare(output: Output, source: np.ndarray, found: np.ndarray) -> Comparison:
    if source.shape != found.shape:
        raise DifferenceError(
            f'{output.name}: shape {found.shape} in the file, {source.shape} before'
        )
    for values, where in ((source, 'before the export'), (found, 'in the file')):
        if not np.isfinite(values).all():
            raise DifferenceError(f'{output.name} holds values that are not finite {where}')
    source, found = source.astype(np.float64), found.astype(np.float64)
    off = np.abs(found - source)
    largest = float(np.abs(source).max(initial=0.0))
    return Comparison(
        output,
        float(off.max(initial=0.0)),
        largest,
        centered_cosine(source, found),
        float((off > TOLERANCE * max(1.0, largest)).mean()) if off.size else 0.0,
    )


def centered_cosine(source: np.ndarray, found: np.ndarray) -> float:
    """Cosine of all values (N, ...) at once, less the mean of ``source`` over the N images.

    1 where the source is the same for all images and the file agrees with it, else 0.
    """
    mean = source.mean(0)
    left, right = (source - mean).ravel(), (found - mean).ravel()
    lengths = np.linalg.norm(left) * np.linalg.norm(right)
    if lengths == 0:
        return float(np.allclose(left, right, atol=TOLERANCE))
    return float(left @ right / lengths)


def refuse_difference(comparisons: Sequence[Comparison]) -> None:
    """Refuse a file in float32 that computes something else.

    Raises:
        DifferenceError: an output differs by more than the tolerance.
    """
    wrong = [str(comparison) for comparison in comparisons if not comparison.equal]
    if wrong:
        raise DifferenceError(
            f'nothing was written, since the exported network differs from its source by more '
            f'than {TOLERANCE:g}: {"; ".join(wrong)}'
        )
