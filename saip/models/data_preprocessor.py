"""The data preprocessor that draws and renders the views of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from saip.datasets.person_images import PersonImages
from saip.datasets.views import (
    Clock,
    DeviceRenderer,
    ReferenceRenderer,
    Renderer,
    ViewPlan,
    build_recipe,
    check_recipe,
    draw_plan,
    draw_two_views,
)
from saip.datasets.views.upload import upload
from saip.registry import MODELS
from saip.structures import Progress

RENDERERS: dict[str, type[Renderer]] = {
    'device': DeviceRenderer,
    'reference': ReferenceRenderer,
}
EVALUATION_EPOCH = -1
POOL_LIMIT = 1000


@MODELS.register_module()
class ViewsPreprocessor(BaseDataPreprocessor):
    """Turns a batch of canvases into views, on the device.

    Args:
        size: (height, width) of the anchor.
        patch_size: of the encoder, in pixels.
        anchor, augmented, locals, multires, masked, scene, jitter: parts of the recipe, see
            :mod:`saip.datasets.views.recipe`; None for a view that is not made.
        gray: probability of a view to be turned grey.
        flip: probability of a view to be mirrored.
        seed: of all draws.
        mean: of each channel, in grey levels.
        std: of each channel, in grey levels.
        renderer: ``device`` (batched) or ``reference`` (Pillow, one picture at a time).
        resize_mode: how views are resized, ``bilinear`` (antialiased) or ``nearest``.
        background_pool: folder (or list, or LMDB) whose pictures are the scenes' backgrounds, at
            most 1,000 of them, kept on the device; None takes other pictures of the batch.
        non_blocking: whether copies to the device may overlap with computation.

    Raises:
        ValueError: a recipe that cannot work, with the reason.
        FileNotFoundError: there is no such pool.
    """

    pool: Tensor | None

    def __init__(
        self,
        size: tuple[int, int],
        patch_size: int,
        anchor: Mapping[str, Any],
        augmented: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        multires: Mapping[str, Any] | None = None,
        masked: Mapping[str, Any] | None = None,
        scene: Mapping[str, Any] | None = None,
        jitter: Mapping[str, Any] | None = None,
        gray: float = 0.2,
        flip: float = 0.5,
        seed: int = 0,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        renderer: str = 'device',
        resize_mode: str = 'bilinear',
        background_pool: str | None = None,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        parts = {
            'anchor': anchor,
            'augmented': augmented,
            'locals': locals,
            'multires': multires,
            'masked': masked,
            'scene': scene,
            'jitter': jitter or {},
            'gray': gray,
            'flip': flip,
        }
        self.recipe = build_recipe(size, patch_size, parts)
        check_recipe(self.recipe)
        if renderer not in RENDERERS:
            raise ValueError(f'unknown renderer {renderer!r}; allowed: {", ".join(RENDERERS)}')
        self.renderer = RENDERERS[renderer](self.recipe, mean, std, resize_mode)
        self.seed = seed
        self.register_buffer('mean', _per_channel(mean), persistent=False)
        self.register_buffer('std', _per_channel(std), persistent=False)
        self._pool_set = None if background_pool is None else PersonImages(background_pool)
        self._pool_sizes: np.ndarray | None = None
        self.register_buffer('pool', None, persistent=False)
        self._selected = self.recipe.available
        self._epoch = 0
        self._step = 0
        self._begun = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the anchor."""
        return self.recipe.size

    @property
    def available_views(self) -> frozenset[str]:
        """Views that the recipe can make."""
        return self.recipe.available

    @property
    def num_multires(self) -> int:
        """Number of multires views, ``multires_0`` and so on; 0 without."""
        return 0 if self.recipe.multires is None else self.recipe.multires.number

    def select(self, names: Iterable[str]) -> None:
        """From now on, draw and render these views only, and what they are made from.

        Raises:
            ValueError: a view that the recipe does not make.
        """
        names = frozenset(names)
        unknown = names - self.available_views
        if unknown:
            raise ValueError(
                f'the view recipe makes no {", ".join(sorted(unknown))}; it makes: '
                f'{", ".join(sorted(self.available_views))}'
            )
        self._selected = names

    def begin_step(self, progress: Progress) -> None:
        """Set the epoch and the micro-batch number that key the next draw."""
        self._epoch = progress.epoch
        self._step = progress.step
        self._begun = True

    def draw(self, data: Mapping[str, Tensor]) -> ViewPlan:
        """Draw the plan of a training batch, once per step that was begun.

        Raises:
            RuntimeError: no step was begun since the last draw: the views would be those of the
                step before, silently, in every step.
        """
        if not self._begun:
            raise RuntimeError(
                'views are drawn once per step, after begin_step: nothing has told the model of '
                'this step. In a training saip.ProgressHook does; it belongs to default_hooks: '
                "default_hooks=dict(progress=dict(type='saip.ProgressHook'))"
            )
        self._begun = False
        clock = Clock(self.seed, self._epoch, self._step, get_rank(), get_world_size())
        keys, sizes = data['key'].cpu().numpy(), data['size'].cpu().numpy()
        return draw_plan(
            self.recipe, self._selected, keys, sizes, clock, pool_sizes=self._pool_sizes
        )

    def _load_pool(self, canvas: tuple[int, int]) -> None:
        """Read the backgrounds, once the size of the batch's canvases is known."""
        pictures = self._pool_set
        if pictures is None or self.pool is not None or 'scene' not in self._selected:
            return
        pictures.canvas = canvas
        chosen = np.linspace(0, len(pictures) - 1, min(len(pictures), POOL_LIMIT)).astype(int)
        samples = [pictures[int(i)] for i in chosen]
        self.pool = torch.stack([sample['canvas'] for sample in samples]).to(self.device)
        self._pool_sizes = torch.stack([sample['size'] for sample in samples]).numpy()

    def _with_backgrounds(self, canvas: Tensor, plan: ViewPlan) -> Tensor:
        """Append each scene's background to the batch's canvases."""
        if plan.pool is None or self.pool is None:
            return canvas
        (chosen,) = upload([plan.pool], canvas.device)
        return torch.cat([canvas, self.pool[chosen]])

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch.

        Args:
            data: with ``canvas``, ``size`` and ``key``, or, to evaluate, with ``image``.
            training: whether to make the selected views.

        Returns:
            ``data_samples``: in evaluation what is not consumed, on the device. ``inputs``:
            in training :class:`saip.structures.Views`; otherwise the normalised images
            (B, 3, H, W), or from canvases a dict of two views ``anchor`` and ``augmented``.
        """
        # Plans are drawn from the host's tensors, before the copy: no synchronisation.
        plan = None
        if training:
            height, width = data['canvas'].shape[-2:]
            self._load_pool((height, width))
            plan = self.draw(data)
        elif 'image' not in data:
            clock = Clock(self.seed, EVALUATION_EPOCH, 0)
            keys, sizes = data['key'].cpu().numpy(), data['size'].cpu().numpy()
            plan = draw_two_views(self.recipe, keys, sizes, clock)
        # In training nothing but the pictures is read on the device.
        batch = dict(self.cast_data({'canvas': data['canvas']} if training else data))
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            if plan is None:
                inputs = (batch.pop('image').float() - self.mean) / self.std
            elif training:
                canvas = self._with_backgrounds(batch.pop('canvas'), plan)
                inputs = self.renderer.render(plan, canvas, self._selected)
            else:
                both = frozenset(plan.random)
                inputs = self.renderer.render(plan, batch.pop('canvas'), both).images
        return {'inputs': inputs, 'data_samples': batch}


def _per_channel(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(-1, 1, 1)
