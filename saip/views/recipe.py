"""View recipes: a dict of view types, and plans drawn by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from saip.errors import InputError
from saip.registry import VIEWS
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType
from saip.views.checks import check_count, check_size
from saip.views.crop_draw import CropDraw
from saip.views.maskers.base import build_part
from saip.views.sizes import Size


class Recipe:
    """All views that can be made of an image.

    Attributes:
        frame: size of the anchor and of the patches.

    Args:
        size: (height, width) of the anchor in pixels.
        patch_size: side of the encoder's patches in pixels.
        views: by name a dict with a view type and its options; None leaves one out.

    Raises:
        InputError: an option is wrong, or the views do not fit together; with the reason.
    """

    def __init__(
        self, size: Size, patch_size: int, views: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        if not isinstance(views, Mapping):
            raise InputError(f'view recipe: views is a dict of views by name, not {views!r}')
        check_count('patch_size', patch_size)
        self.frame = Frame(check_size('size', size, patch_size), patch_size)
        wanted = {name: cfg for name, cfg in views.items() if cfg is not None}
        self._types: dict[str, ViewType] = {
            name: build_part('view type', VIEWS, name, self.frame, cfg)
            for name, cfg in wanted.items()
        }
        self._types = {name: self._types[name] for name in self._in_order(self._types)}
        self._check_names()
        for view_type in self._types.values():
            view_type.check(self)

    def _check_names(self) -> None:
        maker: dict[str, str] = {}
        for entry, names in self.names.items():
            for name in names:
                if name in maker:
                    raise InputError(
                        f'view recipe: {maker[name]} and {entry} both make a view {name}; '
                        'rename one of them'
                    )
                maker[name] = entry

    def __getitem__(self, name: str) -> ViewType:
        return self._types[name]

    def __contains__(self, name: str) -> bool:
        return name in self._types

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of the views that each entry makes."""
        return {name: view_type.names for name, view_type in self._types.items()}

    def find(self, where: str, option: str, name: str, kind: type) -> Any:
        """The entry that another one names, of the kind that it needs.

        Raises:
            InputError: there is no such entry, or it is of another kind.
        """
        found = self._types.get(name)
        if not isinstance(found, kind):
            suited = [n for n, each in self._types.items() if isinstance(each, kind)]
            raise _not_found(where, option, name, suited)
        return found

    def find_any(self, where: str, option: str, name: str) -> ViewType:
        """The entry that another one names, of any kind.

        Raises:
            InputError: there is no such entry.
        """
        found = self._types.get(name)
        if found is None:
            raise _not_found(where, option, name, [n for n in self._types if n != where])
        return found

    def required(self, names: Iterable[str]) -> list[str]:
        """Entries that are drawn to make some entries, these included, bases first."""
        return self._in_order(names)

    def _in_order(self, names: Iterable[str]) -> list[str]:
        order: list[str] = []

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                loop = ' -> '.join([*path[path.index(name) :], name])
                raise InputError(f'view recipe: views build on each other: {loop}')
            if name in order or name not in self._types:
                return  # a missing base is named by its reader's check
            for base in self._types[name].depends_on:
                visit(base, (*path, name))
            order.append(name)

        for name in self._types:
            if name in names:
                visit(name, ())
        return order

    def draw(self, names: Iterable[str], batch: HostBatch, clock: Clock) -> ViewPlan:
        """Draw the plan of a batch.

        Args:
            names: entries whose views are wanted.
            batch: keys and sizes of the images.
            clock: seed, epoch, step and process.
        """
        drawn: dict[str, Draw] = {}
        for name in self.required(frozenset(names)):
            drawn[name] = self._types[name].draw(clock, batch, drawn)
        return ViewPlan(drawn)


@dataclass(frozen=True)
class ViewPlan:
    """All random decisions for a batch, drawn apart from rendering.

    Numbers of an image are keyed by (seed, key, epoch), numbers of a micro-batch by (seed, step),
    so a plan does not depend on the order of the batch nor on the number of processes, and a
    stored plan renders the same views again.

    Attributes:
        draws: by the recipe's entries, bases first.
    """

    draws: dict[str, Draw]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, numbers and arrays."""
        return {name: asdict(draw) for name, draw in self.draws.items()}

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> ViewPlan:
        """Inverse of :meth:`to_dict`; nested lists are taken for arrays as well."""
        return ViewPlan({name: _restore(draw) for name, draw in stored.items()})


def _not_found(where: str, option: str, name: str, suited: list[str]) -> InputError:
    return InputError(
        f'view recipe, {where}: {option}={name!r} is none of the views that it could be '
        f'({", ".join(suited) or "the recipe makes none"})'
    )


def _restore(stored: Mapping[str, Any]) -> Draw:
    crops = {}
    for part, values in stored['crops'].items():
        arrays = {f.name: np.asarray(values[f.name]) for f in fields(CropDraw)}
        height, width = arrays.pop('size').tolist()
        crops[part] = CropDraw(size=(height, width), **arrays)
    return Draw(crops, dict(stored['values']))
