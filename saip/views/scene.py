"""Scenes: queries and distractors pasted on another image (copy-paste, paper Section III-B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from saip.errors import InputError
from saip.registry import VIEWS
from saip.structures import View, Views
from saip.views.augment import build_augment
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.checks import check_choice, check_range, check_share, check_size
from saip.views.crop_draw import CropDraw, CropRule
from saip.views.layout import MIN_VISIBLE, draw_random_layout, random_layout_numbers
from saip.views.ops import Paste, RenderOps
from saip.views.partners import draw_partners
from saip.views.paste import query_masks
from saip.views.random import integers
from saip.views.sizes import Size, reduced, size_text

if TYPE_CHECKING:
    from saip.views.recipe import Recipe

PASTE_SCALES = (Fraction(1, 2), Fraction(3, 8), Fraction(1, 3), Fraction(1, 4))


class BaseScene(ViewType):
    """A background from another image, pastes, and the target ``NAME_masks``.

    The target is (B, Q, H, W), 1 where a query is seen. The background is cut from another image
    of the batch, or from the pool if there is one.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        size: (height, width) of the scene.
        alpha: opacity of a paste.
        area: share of its image that the background's crop covers.
        aspect: range of the background's width / height.
        augment: of the background, see :class:`saip.views.augment.Augment`; None for none.

    Raises:
        InputError: an option is out of its range.
    """

    hides = False
    """Whether later pastes hide a query; otherwise its whole rectangle counts."""

    num_queries: int
    """How many of the pastes, the first ones, are queries."""

    cell_rule = 'cover'
    """How the search objective usually turns the targets into cells; for visualizations."""

    def __init__(
        self,
        name: str,
        frame: Frame,
        size: Size = (224, 224),
        alpha: float = 0.7,
        area: tuple[float, float] = (0.2, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        augment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, frame)
        self.size = check_size(f'{name}.size', size, frame.patch_size)
        self.alpha = check_share(f'{name}.alpha', alpha)
        self.background = CropRule(
            size=self.size,
            area=check_range(f'{name}.area', area, 1),
            aspect=check_range(f'{name}.aspect', aspect),
            augment=build_augment(f'{name}.augment', augment),
        )

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """The only one."""
        return [(self.size,)]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """The only one."""
        return (self.size,)

    def _draw_background(self, clock: Clock, batch: HostBatch, partner: np.ndarray) -> CropDraw:
        """Draw a crop of each scene's partner, or of an image of the pool."""
        name = stream(self.name, 'background')
        numbers = clock.of_images(name, batch.keys, self.background.count)
        if batch.pool_sizes is None:
            return self.background.draw(numbers, partner, batch.sizes)
        chosen = clock.of_images(stream(self.name, 'pool'), batch.keys, 1)[:, 0]
        source = integers(chosen, len(batch.pool_sizes))
        return self.background.draw(numbers, source, batch.pool_sizes, pool=True)

    def _compose(
        self,
        draw: Draw,
        background: Any,
        pastes: list[Any],
        places: list[Tensor],
        ops: RenderOps,
    ) -> Views:
        """Paste in the drawn order; ``places`` are boxes and ranks of the pastes on the device."""
        order = np.asarray(draw.values['order'])
        scene = ops.paste(background, pastes, Paste(_corners(draw), order, self.alpha))
        boxes, rank = places
        masks = query_masks(boxes, rank, self.size, self.num_queries, self.hides)
        return Views({self.name: View(scene)}, {f'{self.name}_masks': masks})

    @staticmethod
    def _places(draw: Draw) -> list[np.ndarray]:
        """Boxes (B, n, 4) as top, left, bottom, right, and ranks (B, n) of pasting."""
        corners = _corners(draw)
        boxes = np.concatenate([corners, corners + np.asarray(draw.values['sizes'])], axis=-1)
        return [boxes, np.argsort(np.asarray(draw.values['order']), axis=1, kind='stable')]


def _corners(draw: Draw) -> np.ndarray:
    """Top left corners (B, n, 2) of the pastes."""
    return np.stack([np.asarray(draw.values[side]) for side in ('top', 'left')], axis=-1)


@VIEWS.register_module()
class Scene(BaseScene):
    """The queries of each image and, maybe, a distractor of another image on a third one.

    Pastes are the query views at 1/2 of their size, or at the largest of 3/8, 1/3 and 1/4 with
    which every draw of their sizes can be laid out.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        queries: the entry whose views are pasted and searched.
        layout: ``visible`` places at random, at least half of each paste uncovered;
            ``overlap`` places at random.
        distractors: how many persons of other images (0 or 1) join the queries.
        options: see :class:`BaseScene`.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        queries: str = 'multires',
        layout: str = 'visible',
        distractors: int = 0,
        size: Size = (224, 224),
        alpha: float = 0.7,
        area: tuple[float, float] = (0.2, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        augment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, frame, size, alpha, area, aspect, augment)
        self.queries = queries
        self.depends_on = (queries,)
        self.layout = check_choice(f'{name}.layout', layout, ('visible', 'overlap'))
        self.hides = layout == 'visible'
        self.distractors = int(check_choice(f'{name}.distractors', distractors, (0, 1)))

    def check(self, recipe: Recipe) -> None:
        """Find a scale at which every draw of the queries fits into the scene.

        Raises:
            InputError: there is no such entry, or no such scale.
        """
        self._queries = recipe.find_any(self.name, 'queries', self.queries)
        if self._queries.rows > 1:
            raise InputError(
                f'view recipe, {self.name}: queries={self.queries!r} has {self._queries.rows} '
                'images per image; a query is one'
            )
        self.num_queries = len(self._queries.names)
        self.paste_scale = self._find_scale()

    def _find_scale(self) -> Fraction:
        draws = self._queries.possible_sizes()
        for scale in PASTE_SCALES:
            if all(self._fits(sizes, scale) for sizes in draws):
                return scale
        largest = max(size for sizes in draws for size in sizes)
        raise InputError(
            f'view recipe, {self.name}: {len(self._queries.names)} queries of up to '
            f'{size_text(largest)} and {self.distractors} distractors do not fit into a scene of '
            f'{size_text(self.size)} even at a quarter of their size; take a larger scene or '
            'smaller scales'
        )

    def _fits(self, queries: Sequence[Size], scale: Fraction) -> bool:
        sizes = [reduced(size, scale) for size in queries]
        if any(h > self.size[0] or w > self.size[1] for h, w in sizes):
            return False
        if self.layout == 'overlap':
            return True
        widths = [w for _, w in sizes + sizes[:1] * self.distractors]
        # Worst order: the widest is pasted last and is the one that must be seen whole.
        return sum((w + 1) // 2 for w in widths) + max(widths) // 2 <= self.size[1]

    def paste_sizes(self, queries: Sequence[Size]) -> list[Size]:
        """Sizes of all pastes: the queries in order, then the distractor."""
        sizes = [reduced(size, self.paste_scale) for size in queries]
        return sizes + sizes[:1] * self.distractors

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw partners, layout and background."""
        name = stream(self.name, 'partners')
        partners = draw_partners(batch.keys, clock, name)
        sizes = self.paste_sizes(self._queries.sizes(drawn[self.queries]))
        numbers = clock.of_images(
            stream(self.name, 'layout'), batch.keys, random_layout_numbers(len(sizes))
        )
        least = MIN_VISIBLE if self.layout == 'visible' else 0.0
        top, left, order = draw_random_layout(numbers, sizes, self.size, least)
        return Draw(
            {'background': self._draw_background(clock, batch, partners.background)},
            {
                'top': top,
                'left': left,
                'order': order,
                'sizes': np.array(sizes),
                'distractor': partners.other,
            },
        )

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Resize the queries and paste them."""
        sizes = [(int(h), int(w)) for h, w in np.asarray(draw.values['sizes'])]
        names = self._queries.names
        pastes = [
            ops.resize(made[name].images, size)
            for name, size in zip(names, sizes, strict=False)
        ]
        distractor = np.asarray(draw.values['distractor'])
        *places, other = ops.upload([*self._places(draw), distractor])
        if self.distractors:
            pastes.append(ops.pick(pastes[0], other))
        composed = self._compose(draw, cuts['background'], pastes, places, ops)
        # A scene is told what the queries of its image are told.
        condition = made[names[0]].condition
        return Views(
            {self.name: replace(composed[self.name], condition=condition)}, composed.targets
        )
