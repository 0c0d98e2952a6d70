"""A checkpoint whose head has another number of classes than the configuration's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from saip.checkpoint import CheckpointError

COUNTS = ('num_classes', 'out_channels')
"""Options of heads that are numbers of classes; a pose head calls its landmarks channels."""

_FORMS: tuple[Callable[[int], int], ...] = (
    lambda count: count,
    lambda count: count + 1,  # the background of a detector
    lambda count: 4 * count,  # a box of each class
)
"""Sides of a weight that follow from a number of classes."""


class _Head(NamedTuple):
    """A part of the model that states a number of classes."""

    path: tuple[str, ...]
    option: str
    number: int

    def holds(self, key: str) -> bool:
        """Whether a weight lies in it, or in a copy of it such as an average."""
        names = key.split('.')
        size = len(self.path)
        starts = range(len(names) - size + 1)
        return any(tuple(names[start : start + size]) == self.path for start in starts)


def compare_class_counts(
    own: Mapping[str, torch.Size], given: Mapping[str, torch.Size], model: Any, path: str
) -> None:
    """Name the option where a file differs from the model in numbers of classes alone.

    Args:
        own: shapes of the model's weights.
        given: those of the file's.
        model: the configuration of the model.
        path: of the file, for the message.

    Raises:
        CheckpointError: names each option with both numbers. Other differences are left to
            a comparison that names the weights.
    """
    different = [key for key in own if key in given and own[key] != given[key]]
    if own.keys() != given.keys() or not different:
        return
    # The innermost part that states a number is the one that a weight follows.
    heads = sorted(_heads(model), key=lambda head: len(head.path), reverse=True)
    counts: dict[_Head, set[int]] = {}
    loose = []
    for key in different:
        head = next((head for head in heads if head.holds(key)), None)
        if head is None:
            loose.append(key)
            continue
        found = _counts_in_file(own[key], given[key], head.number)
        counts[head] = counts.get(head, found) & found
    follow = (_follows(own[key], given[key], counts) for key in loose)
    if counts and all(counts.values()) and all(follow):
        raise CheckpointError(_message(counts, path))


def _message(counts: Mapping[_Head, set[int]], path: str) -> str:
    options = {'.'.join(('model', *h.path, h.option)): (h, min(counts[h])) for h in counts}
    named = [
        f'{option}={head.number}, but the file holds weights for {found}'
        for option, (head, found) in options.items()
    ]
    hint = ' '.join(f'{option}={found}' for option, (_, found) in options.items())
    return (
        f'{path}: {"; ".join(named)}. Take the configuration of the training, or add '
        f'--cfg-options {hint}'
    )


def _follows(own: torch.Size, given: torch.Size, counts: Mapping[_Head, set[int]]) -> bool:
    """Whether a weight outside all heads, such as an expert's twin of one, follows one of them."""
    return any(_counts_in_file(own, given, head.number) & counts[head] for head in counts)


def _heads(node: Any, path: tuple[str, ...] = ()) -> Iterator[_Head]:
    """All parts of a configuration that state a number of classes, but not the model itself."""
    items: Sequence[tuple[str, Any]] = ()
    if isinstance(node, Mapping):
        items = [(str(key), value) for key, value in node.items()]
        for option in COUNTS:
            count = node.get(option)
            if path and isinstance(count, int) and not isinstance(count, bool):
                yield _Head(path, option, count)
    elif isinstance(node, list | tuple):
        items = [(str(place), value) for place, value in enumerate(node)]
    for name, value in items:
        yield from _heads(value, (*path, name))


def _counts_in_file(own: torch.Size, given: torch.Size, count: int) -> set[int]:
    """Numbers of classes that explain the one side in which two shapes differ; none if more do."""
    sides = [(a, b) for a, b in zip(own, given, strict=False) if a != b]
    if len(own) != len(given) or len(sides) != 1:
        return set()
    side, wanted = sides[0]
    return {
        other
        for form in _FORMS
        if form(count) == side
        for other in range(1, wanted + 1)
        if form(other) == wanted
    }
