"""Plans and views of every preset, in a form that no change of names or of structure touches."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from saip.registry import MODELS
from saip.structures import Progress
from tests.test_recordings.cases import OLD_NAMES, shrink_views
from tests.test_views.view_recipes import make_batch
from tests.tiny import ROOT

PRESETS = ('saip', 'saip-paper', 'saip-official', 'saip-small')
PLAN_STEPS = 20
PLAN_BATCH = 8
PIXELS = 24
CROP_FIELDS = (
    *('source', 'box', 'flip', 'jitter', 'factors', 'order', 'gray', 'sigma', 'solarize'),
)


def preprocessor(preset: str, small: bool, **options: Any) -> Any:
    """The preset's preprocessor, at its own size or at a small one."""
    cfg = Config.fromfile(ROOT / f'configs/pretrain/_base_/methods/{preset}.py')
    views = cfg.model.data_preprocessor
    if small:
        shrink_views(views, 16)
    views.update(options)
    return MODELS.build(views)


def host_batch(step: int) -> dict[str, torch.Tensor]:
    """Keys and sizes of a batch."""
    rng = np.random.default_rng(step)
    sizes = rng.integers(40, 900, (PLAN_BATCH, 2))
    keys = rng.integers(0, 2**62, PLAN_BATCH)
    return {'key': torch.from_numpy(keys), 'size': torch.from_numpy(sizes)}


def plan_digests(preset: str) -> dict[str, str]:
    """SHA-256 of every kind of draw over 20 steps of five epochs."""
    drawing = preprocessor(preset, small=False)
    digests: dict[str, Any] = {}
    for step in range(PLAN_STEPS):
        set_clock(drawing, step // 4, step)
        for name, value in canonical(drawing.draw(host_batch(step)), drawing).items():
            array = np.asarray(value)
            kind = np.float64 if array.dtype.kind == 'f' else np.int64
            digest = digests.setdefault(name, hashlib.sha256())
            digest.update(np.ascontiguousarray(array.astype(kind)).tobytes())
    return {name: digest.hexdigest()[:32] for name, digest in sorted(digests.items())}


def rendered(preset: str, renderer: str) -> dict[str, Any]:
    """Gray levels of some pixels of every view of two steps, and a digest of the masks."""
    making = preprocessor(preset, small=True, renderer=renderer)
    making.select(name for name in making.recipe.names if name != 'extra_local_crop')
    mean, std = (getattr(making, name).view(3) for name in ('mean', 'std'))
    out: dict[str, Any] = {}
    for step in range(2):
        set_clock(making, 0, step)
        views = making(make_batch(3, seed=step), training=True)['inputs']
        images, masks = images_and_masks(views)
        for name, values in images.items():
            levels = values * std[:, None, None] + mean[:, None, None]
            rng = np.random.default_rng(len(name))
            places = torch.from_numpy(rng.integers(0, levels.numel(), PIXELS))
            flat = levels.flatten()[places].tolist()
            out[f'{step} {name} {tuple(values.shape)}'] = [round(level, 6) for level in flat]
        for name, values in masks.items():
            data = np.ascontiguousarray(values.numpy().astype(np.int64)).tobytes()
            out[f'{step} {name}'] = hashlib.sha256(data).hexdigest()[:32]
    return out


# What follows is written in the names of the present code; the recorded numbers know none of them.


def set_clock(making: Any, epoch: int, step: int) -> None:
    """Tell the preprocessor where in the run it is."""
    per_epoch = step // epoch if epoch else step + 1
    progress = Progress.at(step, PLAN_STEPS, per_epoch)
    assert progress.epoch == epoch
    making.begin_step(progress)


def canonical(plan: Any, making: Any) -> dict[str, Any]:
    """The draws of a plan by recorded names."""
    out: dict[str, Any] = {}
    for entry, draw in plan.draws.items():
        for part, crop in draw.crops.items():
            name = OLD_NAMES.get(entry, entry) if part == 'crop' else part
            for field in CROP_FIELDS:
                out[f'{name}.{field}'] = getattr(crop, field)
    values = {entry: draw.values for entry, draw in plan.draws.items()}
    out['multires'] = [round(8 * scale) for scale in values['multires']['scales']]
    masked = values['masked']
    from_multires = making.recipe['masked'].of == 'multires'
    out['masked'] = (
        masked['which'] if from_multires else 8 * masked['size'][0] // making.size[0]
    )
    for field, value in masked['mask'].items():
        if value is not None:
            out[f'mask.{field}'] = value
    for field in ('top', 'left', 'order', 'distractor'):
        if field in values['scene']:
            out[f'scene.{OLD_NAMES.get(field, field)}'] = values['scene'][field]
    return out


def images_and_masks(views: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Images, and what goes with them, by recorded names."""
    masks = {'scene masks': views.targets['scene_masks']}
    for field in ('keep', 'restore', 'scored', 'scored_weight'):
        value = getattr(views['masked'].mask, field)
        if value is not None:
            masks[f'mask {field}'] = value
    images = {OLD_NAMES.get(n, n): view.images for n, view in views.by_name.items()}
    return images, masks
