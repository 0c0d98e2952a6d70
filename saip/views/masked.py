"""Views of which most patches are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from saip.errors import InputError
from saip.registry import VIEWS
from saip.structures import Grid, View, Views
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.checks import check_scales
from saip.views.maskers import MaskDraw, build_masker
from saip.views.ops import RenderOps
from saip.views.random import integers
from saip.views.sizes import Size, fraction, whole_patches

if TYPE_CHECKING:
    from saip.views.recipe import Recipe


@VIEWS.register_module()
class Masked(ViewType):
    """Another view's images, resized, with a mask.

    The images are whole; the mask says which patches an encoder sees. With a scale of 1 the view
    shares the other's images, so that several masks of one image cost one image.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        of: the view whose images are taken; of several resolutions one is drawn per micro-batch.
        mask: a masker's dict, such as ``dict(type='RandomMask', ratio=.75)``.
        scales: factors of the sides, of which one is drawn per micro-batch; sizes are rounded
            to whole patches.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        mask: Mapping[str, Any],
        of: str = 'anchor',
        scales: tuple[float, ...] = (1.0,),
    ) -> None:
        super().__init__(name, frame)
        self.of = of
        self.scales = check_scales(f'{name}.scales', scales)
        self.masker = build_masker(f'{name}.mask', frame, mask)
        self.depends_on = (of, *self.masker.depends_on)

    def check(self, recipe: Recipe) -> None:
        """Find the images, then let the masker look.

        Raises:
            InputError: there is no such view, or the masker does not fit.
        """
        self._base = recipe.find_any(self.name, 'of', self.of)
        if self._base.rows > 1:
            raise InputError(
                f'view recipe, {self.name}: of={self.of!r} has {self._base.rows} images per '
                'image, but masks are drawn for one'
            )
        if len(self._base.names) > 1 and self.scales != (1.0,):
            raise InputError(
                f'view recipe, {self.name}: of={self.of!r} has several resolutions, so scales '
                'belong there'
            )
        self.masker.check(self, recipe)

    def follows(self, other: Masked) -> bool:
        """Whether the images are always those of ``other``."""
        return self.of == other.name and self.scales == (1.0,)

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """Every base size at every scale."""
        patch = self.frame.patch_size
        bases = {size for sizes in self._base.possible_sizes() for size in sizes}
        found = {whole_patches(size, scale, patch) for size in bases for scale in self.scales}
        return [(size,) for size in sorted(found)]

    def unrounded_sizes(self) -> list[tuple[Fraction, Fraction]]:
        """Sizes before rounding to whole patches."""
        bases = {size for sizes in self._base.possible_sizes() for size in sizes}
        factors = [fraction(scale) for scale in self.scales]
        return [(h * factor, w * factor) for h, w in bases for factor in factors]

    def grids(self) -> list[Grid]:
        """Patch grids that the view can have, smallest first."""
        patch = self.frame.patch_size
        return [(h // patch, w // patch) for ((h, w),) in self.possible_sizes()]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """The drawn one."""
        height, width = draw.values['size']
        return ((int(height), int(width)),)

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw the scale (or the resolution) of a micro-batch and each image's mask."""
        patch = self.frame.patch_size
        bases = self._base.sizes(drawn[self.of])
        number = clock.of_step(stream(self.name, 'scale'), 1)
        which = scale = 0
        if len(bases) > 1:
            which = int(integers(number, len(bases))[0])
        else:
            scale = int(integers(number, len(self.scales))[0])
        size = whole_patches(bases[which], self.scales[scale], patch)
        grid = (size[0] // patch, size[1] // patch)
        mask = self.masker.draw(stream(self.name, 'mask'), grid, clock, batch, drawn)
        return Draw(values={'which': which, 'size': size, 'mask': vars(mask).copy()})

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Resize the images, bring the mask to the device."""
        base = made[self._base.names[draw.values['which']]]
        mask = ops.patch_mask(MaskDraw.from_dict(draw.values['mask']))
        (size,) = self.sizes(draw)
        view = View(ops.resize(base.images, size), mask, base.condition)
        return Views({self.name: view})
