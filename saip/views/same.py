"""Second names of views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saip.errors import InputError
from saip.registry import VIEWS
from saip.structures import Views
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType
from saip.views.numbers import (
    Condition,
    Numbers,
    bases_of,
    check_condition,
    make_condition,
)
from saip.views.ops import RenderOps
from saip.views.sizes import Size

if TYPE_CHECKING:
    from saip.views.recipe import Recipe


@VIEWS.register_module()
class Same(ViewType):
    """Another view's images and mask under a second name and another condition.

    Both names share one tensor, so a second name costs no image.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        of: the view whose images these are.
        condition: what an encoder is told beside the images: a number from 0 to 1 for all of
            them, an entry of the recipe that draws numbers, such as one of type ``Bernoulli``,
            or None for nothing.

    Raises:
        InputError: the condition is none of these.
    """

    def __init__(self, name: str, frame: Frame, of: str, condition: Condition = None) -> None:
        super().__init__(name, frame)
        self.of = of
        self.condition = check_condition(f'{name}.condition', condition)
        self.conditioned = condition is not None
        self.depends_on = (of, *bases_of(self.condition))

    def check(self, recipe: Recipe) -> None:
        """Find the view and the numbers.

        Raises:
            InputError: there are no such entries, or the view is not one.
        """
        self._base = recipe.find_any(self.name, 'of', self.of)
        if len(self._base.names) != 1:
            listed = ', '.join(self._base.names) or 'none'
            raise InputError(
                f'view recipe, {self.name}: of={self.of!r} has to make one view; it makes {listed}'
            )
        if isinstance(self.condition, str):
            recipe.find(self.name, 'condition', self.condition, Numbers)
        self.rows = self._base.rows

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """Those of the view."""
        return self._base.possible_sizes()

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """The drawn one."""
        height, width = draw.values['size']
        return ((int(height), int(width)),)

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw nothing; keep the size."""
        (size,) = self._base.sizes(drawn[self.of])
        return Draw(values={'size': size})

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Name the images again."""
        base = made[self._base.names[0]]
        condition = make_condition(self.condition, self.rows, base.images, made, ops)
        return Views({self.name: replace(base, condition=condition)})
