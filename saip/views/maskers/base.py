"""What a masker provides, and what it draws."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saip.errors import InputError
from saip.registry import MASKERS
from saip.structures import Grid
from saip.views.base import Clock, Draw, Frame, HostBatch
from saip.views.checks import check_inner_share

if TYPE_CHECKING:
    from saip.views.masked import Masked
    from saip.views.recipe import Recipe


@dataclass(frozen=True)
class MaskDraw:
    """Host twin of :class:`saip.structures.PatchMask`, same fields as arrays."""

    keep: np.ndarray
    restore: np.ndarray
    scored: np.ndarray
    scored_weight: np.ndarray | None = None

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> MaskDraw:
        """Inverse of ``vars``; nested lists are taken for arrays as well."""
        weight = stored['scored_weight']
        return MaskDraw(
            keep=np.asarray(stored['keep']),
            restore=np.asarray(stored['restore']),
            scored=np.asarray(stored['scored']),
            scored_weight=None if weight is None else np.asarray(weight),
        )


class Masker(ABC):
    """Draws which patches are hidden. Every image of a batch keeps the same number of patches.

    Attributes:
        depends_on: entries of the recipe whose draws are read.
        equal_counts: whether the same number of patches is hidden in every image.

    Args:
        where: the recipe's entry, for messages.
        frame: what all views of the recipe refer to.
    """

    depends_on: tuple[str, ...] = ()
    equal_counts = True

    def __init__(self, where: str, frame: Frame) -> None:
        self.where = where
        self.frame = frame

    def check(self, view: Masked, recipe: Recipe) -> None:  # noqa: B027
        """Compare the options with the masked view, whose own checks are done, and the recipe.

        Raises:
            InputError: they do not fit together, with the reason.
        """

    @abstractmethod
    def draw(
        self,
        stream: str,
        grid: Grid,
        clock: Clock,
        batch: HostBatch,
        drawn: Mapping[str, Draw],
    ) -> MaskDraw:
        """Draw the masks of a batch.

        Args:
            stream: name of the random stream.
            grid: (h, w) of the view's patches.
            clock: what keys the numbers.
            batch: the images' keys and sizes.
            drawn: draws of the entries of ``depends_on``, and maybe of others.
        """


class RatioMasker(Masker):
    """A masker that hides a share of the patches.

    Args:
        where: the recipe's entry, for messages.
        frame: what all views of the recipe refer to.
        ratio: share of hidden patches.

    Raises:
        InputError: ``ratio`` is no share.
    """

    def __init__(self, where: str, frame: Frame, ratio: float = 0.75) -> None:
        super().__init__(where, frame)
        self.ratio = check_inner_share(f'{where}.ratio', ratio)

    def check(self, view: Masked, recipe: Recipe) -> None:
        """Refuse a ratio that hides everything.

        Raises:
            InputError: no patch of the smallest grid stays visible.
        """
        smallest = view.grids()[0]
        if kept_patches(smallest[0] * smallest[1], self.ratio) < 1:
            raise InputError(
                f'view recipe, {self.where}: ratio={self.ratio} leaves no patch of the smallest '
                f'grid {smallest} visible'
            )


def build_masker(where: str, frame: Frame, options: Mapping[str, Any]) -> Masker:
    """Build a masker from a config's dict.

    Raises:
        InputError: no such masker, or it takes no such option.
    """
    return build_part('masker', MASKERS, where, frame, options)


def build_part(
    kind: str, registry: Any, where: str, frame: Frame, options: Mapping[str, Any]
) -> Any:
    """Build a view type or masker, whose first arguments are its entry's name and the frame.

    Raises:
        InputError: no such type, or it takes no such option.
    """
    if not isinstance(options, Mapping) or not isinstance(options.get('type'), str):
        raise InputError(
            f"view recipe, {where}: a dict with the {kind}'s type is needed, got {options!r}"
        )
    options = dict(options)
    name = options.pop('type')
    cls = registry.get(name)
    if cls is None:
        known = ', '.join(sorted(registry.module_dict))
        raise InputError(f'view recipe, {where}: no {kind} {name!r}; allowed: {known}')
    allowed = option_names(cls)
    parameters = inspect.signature(cls).parameters
    missing = [key for key in allowed if parameters[key].default is inspect.Parameter.empty]
    missing = [key for key in missing if key not in options]
    if missing:
        raise InputError(f'view recipe, {where}: {name} needs {", ".join(missing)}')
    for key in options:
        if key not in allowed:
            raise InputError(
                f'view recipe, {where}: {name} has no option {key!r}; allowed: '
                f'{", ".join(allowed)}'
            )
    return cls(where, frame, **options)


def option_names(cls: type) -> list[str]:
    """Options of a view type or masker: what its constructor takes beside name and frame."""
    return list(inspect.signature(cls).parameters)[2:]


def mask_from_hidden_last(ranked: np.ndarray, kept: int) -> MaskDraw:
    """Mask that keeps the first ``kept`` of (B, L) ranked patches, visible ones in raster order."""
    keep = np.sort(ranked[:, :kept], axis=1)
    hidden = np.sort(ranked[:, kept:], axis=1)
    sequence = np.concatenate([keep, hidden], axis=1)
    restore = np.empty_like(sequence)
    np.put_along_axis(restore, sequence, np.arange(sequence.shape[1])[None], axis=1)
    return MaskDraw(keep, restore, hidden)


def kept_patches(patches: int, ratio: float) -> int:
    """How many of ``patches`` stay visible: the visible share, rounded down."""
    # 1 - 0.9 is a little less than 0.1; the guard keeps such products whole.
    return int(patches * (1 - ratio) + 1e-9)
