"""Whether a configuration states as many classes as its training set has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class ClassCountFault(NamedTuple):
    """Numbers of classes that differ.

    Attributes:
        text: which option states what, and what the set has.
        options: ``KEY=VALUE`` that would be right.
    """

    text: str
    options: str


def compare_class_count(
    stated: Mapping[str, int], dataset: Any, called: str = 'classes'
) -> ClassCountFault | None:
    """Compare options with a data set that lists its classes.

    Args:
        stated: number of classes by the option that states it.
        dataset: of the training, with ``metainfo['classes']`` and ``data_root``.
        called: what the classes are.

    Returns:
        None where all numbers are equal.
    """
    found = len(dataset.metainfo['classes'])
    wrong = {option: number for option, number in stated.items() if number != found}
    if not wrong:
        return None
    listed = ', '.join(f'{option}={number}' for option, number in wrong.items())
    return ClassCountFault(
        f'{listed}, but {dataset.data_root} has {found} {called}',
        ' '.join(f'{option}={found}' for option in wrong),
    )
