"""The presets' view recipes and images to try them on."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from saip.structures import Views
from saip.views import Clock, DeviceOps, HostBatch, Recipe, RenderOps, ViewPlan

COLORS = {'jitter': {}, 'gray': 0.2, 'flip': 0.5}
GLOBALS = {
    'anchor': {'type': 'Crop', 'augment': {**COLORS, 'blur': 1.0}},
    'augmented': {'type': 'Crop', 'augment': {**COLORS, 'blur': 0.1, 'solarize': 0.2}},
    'local_crops': {
        **{'type': 'Crop', 'number': 3, 'size': (64, 32), 'area': (0.05, 0.8)},
        'augment': {**COLORS, 'blur': 0.5},
    },
}
SCALES = (0.75, 0.875, 1.125, 1.25, 1.375, 1.5)
BACKGROUND = {'augment': {**COLORS, 'blur': 0.1, 'solarize': 0.2}}
PRESETS = {
    'saip': {
        **GLOBALS,
        'multires': {'type': 'Rescale'},
        'masked': {
            **{'type': 'Masked', 'of': 'augmented', 'scales': SCALES},
            'mask': {'type': 'RandomMask'},
        },
        'scene': {'type': 'Scene', 'distractors': 1, **BACKGROUND},
    },
    'saip-paper': {
        'anchor': {'type': 'Crop', 'area': (0.4, 1.0), 'augment': {**COLORS, 'blur': 1.0}},
        'multires': {'type': 'Rescale'},
        'masked': {'type': 'Masked', 'of': 'multires', 'mask': {'type': 'RandomMask'}},
        'scene': {'type': 'Scene', 'layout': 'overlap', 'alpha': 1.0, **BACKGROUND},
    },
    'saip-official': {
        **GLOBALS,
        'local_crops': {**GLOBALS['local_crops'], 'type': 'OfficialCrop'},
        'extra_local_crop': {**GLOBALS['local_crops'], 'type': 'OfficialCrop', 'number': 1},
        'multires': {'type': 'OfficialRescale'},
        'masked': {
            **{'type': 'Masked', 'of': 'augmented', 'scales': (1.25,)},
            'mask': {'type': 'OfficialMask'},
        },
        'scene': {'type': 'OfficialScene', **BACKGROUND},
    },
}


def make_recipe(preset: str = 'saip', size: tuple[int, int] = (128, 64), **changes) -> Recipe:
    """A preset's recipe with smaller local crops; ``changes`` replace options of its entries."""
    views = dict(PRESETS[preset])
    for name, change in changes.items():
        views[name] = change and {**views.get(name, {}), **change}
    return Recipe(size, 16, views)


def make_batch(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Smooth colored canvases with some texture, like photographs and unlike noise."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 12, 8)))
    smooth = torch.nn.functional.interpolate(coarse, (160, 80), mode='bicubic')
    canvas = (smooth + torch.from_numpy(rng.normal(0, 6, smooth.shape))).clamp(0, 255)
    sizes = np.stack([rng.integers(80, 400, count), rng.integers(40, 200, count)], 1)
    return {
        'canvas': canvas.byte(),
        'size': torch.from_numpy(sizes),
        'key': torch.from_numpy(rng.integers(0, 2**62, count)),
        'index': torch.arange(count),
        'replaced': torch.full((count,), -1),
    }


def host_batch(batch: dict[str, Tensor]) -> HostBatch:
    """What a plan is drawn from."""
    return HostBatch(batch['key'].numpy(), batch['size'].numpy())


def draw_plan(
    recipe: Recipe,
    batch: dict[str, Tensor],
    names: Iterable[str] | None = None,
    clock: Clock = Clock(0, 0, 0),  # noqa: B008
) -> ViewPlan:
    """Draw some entries of a recipe, all by default."""
    return recipe.draw(recipe.names if names is None else names, host_batch(batch), clock)


def make_ops(
    kind: type[RenderOps] = DeviceOps,
    mode: str = 'bilinear',
    mean: Iterable[float] = (0, 0, 0),
    std: Iterable[float] = (1, 1, 1),
) -> RenderOps:
    """Operations whose views are gray levels unless a normalization is given."""
    mean, std = (torch.tensor(list(x), dtype=torch.float32).view(3, 1, 1) for x in (mean, std))
    return kind(mean, std, mode)


def images_of(views: Views) -> dict[str, Tensor]:
    """Images by name."""
    return {name: view.images for name, view in views.by_name.items()}
