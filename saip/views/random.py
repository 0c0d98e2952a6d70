"""Keyed random numbers: a pure function of (seed, stream, key, epoch), no state anywhere.

A counter is hashed by the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), so the numbers of an image do not depend on the
platform, on the process that draws them, or on the other images of its batch.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_WORD = 2**64 - 1


def uniforms(seed: int, stream: str, keys: np.ndarray, epoch: int, n: int) -> np.ndarray:
    """Independent uniform numbers for every key.

    Args:
        seed: of the run.
        stream: names the use, so that two uses never share numbers.
        keys: (B,) integers.
        epoch: any integer; -1 is the evaluation's.
        n: numbers per key.

    Returns:
        (B, n) float64 in [0, 1), 53 random bits each.
    """
    state = _mix(np.asarray(keys).astype(np.uint64) + _GAMMA)
    for word in (_stream_word(stream), seed, epoch):
        state = _mix((state + _GAMMA) ^ np.uint64(word & _WORD))
    steps = np.arange(1, n + 1, dtype=np.uint64) * _GAMMA
    bits = _mix(state[:, None] + steps[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(uniform: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Map uniform numbers to integers 0 ... count - 1 (``count`` at least 1, broadcast)."""
    count = np.asarray(count)
    drawn = np.floor(uniform * count).astype(np.int64)
    return np.minimum(drawn, count - 1)


def within(uniform: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map uniform numbers to the interval [low, high)."""
    return low + uniform * (high - low)


@cache
def _stream_word(stream: str) -> int:
    return int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), 'little')


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
