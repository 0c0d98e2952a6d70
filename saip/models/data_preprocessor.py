"""The data preprocessor that draws and renders the views of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from saip.compiling import Compilable
from saip.datasets.person_images import PersonImages
from saip.errors import InputError
from saip.registry import MODELS
from saip.structures import Progress, Views
from saip.views import (
    Clock,
    DeviceOps,
    HostBatch,
    Recipe,
    ReferenceOps,
    RenderOps,
    ViewPlan,
    render,
)

RENDERERS: dict[str, type[RenderOps]] = {'device': DeviceOps, 'reference': ReferenceOps}
VALIDATION_EPOCH = -1
VALIDATION_SEED = 0
POOL_LIMIT = 1000

_COLORS = dict(jitter={}, gray=0.2, flip=0.5)
VALIDATION_VIEWS = dict(
    anchor=dict(type='Crop', augment=dict(**_COLORS, blur=1.0)),
    augmented=dict(type='Crop', augment=dict(**_COLORS, blur=0.1, solarize=0.2)),
)
"""The two views of a held-back image, the same for every method, so that methods compare."""


@MODELS.register_module()
class ViewsPreprocessor(Compilable, BaseDataPreprocessor):
    """Turns a batch of canvases into views, on the device.

    Args:
        size: (height, width) of the anchor.
        patch_size: side of the encoder's patches in pixels.
        views: the view recipe: by name a dict with a type of :mod:`saip.views` and its options;
            None leaves a view out.
        seed: of all draws.
        mean: of each channel, in gray levels.
        std: of each channel, in gray levels.
        renderer: ``device`` (batched) or ``reference`` (Pillow, one image at a time).
        resize_mode: how views are resized, ``bilinear`` (antialiased) or ``nearest``.
        background_pool: folder (or list, or LMDB) whose images are the scenes' backgrounds, at
            most 1,000 of them, kept on the device; None takes other images of the batch.
        non_blocking: whether copies to the device may overlap with computation.

    Raises:
        InputError: a recipe that cannot work, with the reason.
        FileNotFoundError: there is no such pool.
    """

    mean: Tensor
    std: Tensor
    pool: Tensor | None

    def __init__(
        self,
        size: tuple[int, int],
        patch_size: int,
        views: Mapping[str, Mapping[str, Any] | None],
        seed: int = 0,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        renderer: str = 'device',
        resize_mode: str = 'bilinear',
        background_pool: str | None = None,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        self.recipe = Recipe(size, patch_size, views)
        self.validation_recipe = Recipe(size, patch_size, VALIDATION_VIEWS)
        if renderer not in RENDERERS:
            raise InputError(f'unknown renderer {renderer!r}; allowed: {", ".join(RENDERERS)}')
        self.renderer = renderer
        self.resize_mode = resize_mode
        self.seed = seed
        self.register_buffer('mean', _per_channel(mean), persistent=False)
        self.register_buffer('std', _per_channel(std), persistent=False)
        self._made_ops: RenderOps | None = None
        self._ops()  # refuses an unknown resize_mode
        self._pool_set = None if background_pool is None else PersonImages(background_pool)
        self._pool_sizes: np.ndarray | None = None
        self.register_buffer('pool', None, persistent=False)
        self._selected = tuple(self.recipe.names)
        self._progress: Progress | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the anchor."""
        return self.recipe.frame.size

    @property
    def patch_size(self) -> int:
        """Side of the encoder's patches in pixels."""
        return self.recipe.frame.patch_size

    def select(self, names: Iterable[str]) -> None:
        """From now on, draw and render these entries only, and what they are built on.

        Raises:
            InputError: an entry that the recipe does not have.
        """
        names = tuple(names)
        unknown = sorted(set(names) - set(self.recipe.names))
        if unknown:
            raise InputError(
                f'the view recipe makes no {", ".join(unknown)}; it makes: '
                f'{", ".join(sorted(self.recipe.names))}'
            )
        self._selected = names

    def begin_step(self, progress: Progress) -> None:
        """Say which micro-batch the next draw is for. A draw in training uses this up."""
        self._progress = progress

    def draw(self, data: Mapping[str, Tensor]) -> ViewPlan:
        """Draw the plan of a training batch of the step that was begun.

        Raises:
            RuntimeError: no step was begun since the last draw.
        """
        progress, self._progress = self._progress, None
        if progress is None:
            raise RuntimeError(
                'views are drawn once per step, after begin_step: nothing has told the model of '
                'this step. In a training saip.ProgressHook does; it belongs to default_hooks: '
                "default_hooks=dict(progress=dict(type='saip.ProgressHook'))"
            )
        clock = Clock(self.seed, progress.epoch, progress.step, get_rank(), get_world_size())
        return self.recipe.draw(self._selected, self._host_batch(data), clock)

    def _host_batch(self, data: Mapping[str, Tensor]) -> HostBatch:
        keys, sizes = data['key'].cpu().numpy(), data['size'].cpu().numpy()
        keypoints = data['keypoints'].cpu().numpy() if 'keypoints' in data else None
        return HostBatch(keys, sizes, self._pool_sizes, keypoints)

    def _ops(self) -> RenderOps:
        """Operations on the present device, made anew after a move to another."""
        if self._made_ops is None or self._made_ops.mean is not self.mean:
            self._made_ops = RENDERERS[self.renderer](self.mean, self.std, self.resize_mode)
        self._made_ops.compiles = self.compiles
        return self._made_ops

    def _load_pool(self, canvas: tuple[int, int]) -> None:
        """Read the backgrounds, once the size of the batch's canvases is known."""
        images = self._pool_set
        if images is None or self.pool is not None:
            return
        images.canvas = canvas
        chosen = np.linspace(0, len(images) - 1, min(len(images), POOL_LIMIT)).astype(int)
        samples = [images[int(i)] for i in chosen]
        self.pool = torch.stack([sample['canvas'] for sample in samples]).to(self.device)
        self._pool_sizes = torch.stack([sample['size'] for sample in samples]).numpy()

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch.

        Args:
            data: with ``canvas``, ``size``, ``key`` and maybe ``keypoints``, or, to evaluate, with
                ``image``.
            training: whether to make the selected views.

        Returns:
            ``data_samples``: in evaluation what is not consumed, on the device. ``inputs``:
            in training :class:`saip.structures.Views`; otherwise the normalized images
            (B, 3, H, W), or from canvases a dict of two views ``anchor`` and ``augmented``.

        Raises:
            RuntimeError: training without a begun step, see :meth:`draw`.
        """
        if training:
            return {'inputs': self._training_views(data), 'data_samples': {}}
        if 'image' not in data:
            return self._validation_views(data)
        batch = dict(self.cast_data(data))
        return {
            'inputs': (batch.pop('image').float() - self.mean) / self.std,
            'data_samples': batch,
        }

    def replay(self, data: dict[str, Any], clock: Clock) -> Views:
        """Make the views that a step of a run has had, of any of its processes.

        Args:
            data: its batch, as :meth:`forward` takes it.
            clock: of the step.
        """
        self._load_pool(data['canvas'].shape[-2:])
        return self._render(
            data, self.recipe.draw(self._selected, self._host_batch(data), clock)
        )

    def _training_views(self, data: dict[str, Any]) -> Views:
        height, width = data['canvas'].shape[-2:]
        self._load_pool((height, width))
        # Plans are drawn from the host's tensors, before the copy: no synchronization.
        return self._render(data, self.draw(data))

    def _render(self, data: dict[str, Any], plan: ViewPlan) -> Views:
        # In training nothing but the images is read on the device.
        canvas = dict(self.cast_data({'canvas': data['canvas']}))['canvas']
        with torch.autocast(self.device.type, enabled=False):
            return render(self.recipe, plan, canvas, self._selected, self._ops(), self.pool)

    def _validation_views(self, data: dict[str, Any]) -> dict[str, Any]:
        recipe, clock = self.validation_recipe, Clock(VALIDATION_SEED, VALIDATION_EPOCH, 0)
        plan = recipe.draw(recipe.names, self._host_batch(data), clock)
        batch = dict(self.cast_data(data))
        with torch.autocast(self.device.type, enabled=False):
            views = render(recipe, plan, batch.pop('canvas'), recipe.names, self._ops())
        images = {name: view.images for name, view in views.by_name.items()}
        return {'inputs': images, 'data_samples': batch}


def _per_channel(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(-1, 1, 1)
