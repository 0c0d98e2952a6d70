"""When two names are the same but for a slip of the fingers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_SHORT = 3
"""Names so short that one other letter makes another word (``css`` and ``csm``)."""


def suggestion(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that a misspelled one most probably means; None if none is near."""
    names = [each for each in allowed if each != name]
    slips = [each for each in names if is_slip(name, each)]
    close = difflib.get_close_matches(name, slips or names, 1, cutoff=0.0 if slips else 0.6)
    return close[0] if close else None


def is_slip(name: str, meant: str) -> bool:
    """Whether a name is another one with a single mistake of typing.

    That is one letter left out, added or exchanged, two neighbors swapped, or the words joined
    in another way (``maxEpochs``). Names that number or letter a series are no mistakes:
    ``masked_a`` and ``masked_b``, ``q_bias`` and ``v_bias``, ``crop`` and ``crop2``.
    """
    if name == meant or _unnumbered(name) == _unnumbered(meant):
        return False
    if _joined(name) == _joined(meant):
        return True
    shorter, longer = sorted((name, meant), key=len)
    if len(shorter) < _SHORT or len(longer) - len(shorter) > 1:
        return False
    start = _common(shorter, longer)
    rest = longer[start + 1 :]
    if len(shorter) < len(longer):
        return shorter[start:] == rest
    swapped = shorter[start : start + 2] == longer[start : start + 2][::-1]
    if swapped and shorter[start + 2 :] == longer[start + 2 :]:
        return True
    return shorter[start + 1 :] == rest and len(shorter) > _SHORT


def _common(one: str, other: str) -> int:
    """Length of the common beginning."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _joined(name: str) -> str:
    return name.replace('_', '').replace('-', '').lower()


def _unnumbered(name: str) -> str:
    """Without numbers, and without words of one letter."""
    words = re.sub(r'_?\d+', '', name).split('_')
    return '_'.join('' if len(word) == 1 else word for word in words)
