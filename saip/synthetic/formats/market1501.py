"""Market-1501: the set that the quickstart pretrains on, in the sizes of the other writers."""

from __future__ import annotations

import os
from dataclasses import replace

from saip.errors import InputError

from .. import market
from .base import SIZES


def write_market1501(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``bounding_box_train``, ``query`` and ``bounding_box_test``; see ``market``."""
    if size not in SIZES:
        raise InputError(f'no size {size!r} of market1501: take one of {", ".join(SIZES)}')
    return market.write_market1501(out, replace(market.SIZES[size], seed=seed), workers)
