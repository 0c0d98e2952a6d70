"""The presets' view recipes and pictures to try them on."""

import numpy as np
import torch
from torch import Tensor

from saip.datasets.views import Recipe, build_recipe, check_recipe

GLOBALS = {
    'anchor': {'area': (0.8, 1.0), 'blur': 1.0},
    'augmented': {'area': (0.8, 1.0), 'blur': 0.1, 'solarize': 0.2},
    'locals': {'number': 3, 'size': (64, 32), 'area': (0.05, 0.8), 'blur': 0.5},
}
PRESETS = {
    'saip': {**GLOBALS, 'multires': {}, 'masked': {}, 'scene': {'others': 1}},
    'saip-paper': {
        'anchor': {'area': (0.4, 1.0), 'blur': 1.0},
        'multires': {},
        'masked': {'source': 'multires'},
        'scene': {'layout': 'overlap', 'alpha': 1.0},
    },
    'saip-official': {
        **GLOBALS,
        'multires': {'eighths': (6, 7, 9, 10), 'source': 'official'},
        'masked': {'eighths': (10,), 'mode': 'official'},
        'scene': {'layout': 'official'},
    },
}


def make_recipe(preset: str = 'saip', size: tuple[int, int] = (128, 64), **changes) -> Recipe:
    recipe = build_recipe(size, 16, {**PRESETS[preset], **changes})
    check_recipe(recipe)
    return recipe


def make_batch(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Smooth coloured canvases with some texture, like photographs and unlike noise."""
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
