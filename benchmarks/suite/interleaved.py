"""Timing of peers in turn, in one process."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How many times as long a peer takes.

    Attributes:
        median: over the rounds.
        low: smallest of a round.
        high: largest of a round.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Ratio:
        """Median and range of the rounds' ratios."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Times:
    """Seconds of every round, by name of the peer."""

    by_name: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Median seconds of a peer."""
        return statistics.median(self.by_name[name])

    def ratio(self, peer: str | tuple[str, ...], ours: str | tuple[str, ...]) -> Ratio:
        """Time of a peer over ours, round by round; several names are parts of one whole."""
        return Ratio.of(
            [a / b for a, b in zip(self._whole(peer), self._whole(ours), strict=True)]
        )

    def _whole(self, names: str | tuple[str, ...]) -> list[float]:
        parts = [names] if isinstance(names, str) else names
        return [sum(row) for row in zip(*(self.by_name[name] for name in parts), strict=True)]


def interleave(
    works: Mapping[str, Work],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Time works in turn, every other round in the opposite order, so that a drift cancels.

    Args:
        works: by name.
        rounds: that count.
        warm_up: rounds before them.
        clock: seconds; by default processor time of this process, which other processes on the
            machine change little.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(-warm_up, rounds):
        order = list(works.items())
        for name, work in order if number % 2 else reversed(order):
            gc.collect()  # not at the cost of who comes next
            start = clock()
            work()
            if number >= 0:
                times[name].append(clock() - start)
    return Times(times)
