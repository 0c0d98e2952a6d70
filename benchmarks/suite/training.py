"""A pretraining model, a batch, and a step as the Runner does it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from saip.models.selfsup import Pretrainer
from saip.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from saip.structures import Progress

ROOT = Path(__file__).resolve().parents[2]
CANVAS = (320, 160)
COMPILED = 'compile' in inspect.signature(Pretrainer.__init__).parameters
"""Whether a model can be asked to compile its blocks."""

TINY = {
    'csm': dict(hidden_channels=32, bottleneck_channels=16, out_channels=64),
    'csr': dict(dims=32, depth=2, num_heads=4),
    'css': dict(dims=32, num_heads=4),
    'mae': dict(dims=32, depth=2, num_heads=4),
}
"""Necks of the objectives of a tiny model."""

TINY_ENCODER = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96),
    patch_size=16,
    feature_level=2,
)


def model_config(
    preset: str, encoder: str, options: Mapping[str, Any] | None = None
) -> ConfigDict:
    """``model`` of a pretraining.

    Args:
        preset: a fragment of ``configs/pretrain/_base_/methods``.
        encoder: one of ``configs/_base_/backbones``, or ``tiny``: four narrow blocks, narrow
            decoders and 64 prototypes.
        options: values by dotted key of ``model``.
    """
    cfg = Config.fromfile(ROOT / f'configs/pretrain/_base_/methods/{preset}.py')
    if encoder == 'tiny':
        cfg.model.backbone = {**TINY_ENCODER, **cfg.encoder_options}
        for name, objective in cfg.model.objectives.items():
            objective.neck.update(TINY[name])
    else:
        fragment = Config.fromfile(ROOT / f'configs/_base_/backbones/{encoder}.py')
        cfg.model.backbone = {**fragment.backbone, **cfg.encoder_options}
    changes = {f'model.{key}': value for key, value in (options or {}).items()}
    cfg.merge_from_dict(changes)
    return cfg.model


def build(cfg: Mapping[str, Any], device: str = 'cpu', seed: int = 0) -> Pretrainer:
    """An initialized model in training mode."""
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.to(device).train()


def optim_options() -> dict[str, Any]:
    """``optim_wrapper`` of the schedule of 300 epochs."""
    path = ROOT / 'configs/pretrain/_base_/schedules/adamw-coslr-300e.py'
    return dict(Config.fromfile(path).optim_wrapper)


def wrapper_of(model: Pretrainer, precision: str) -> Any:
    """The optimizer wrapper of a model, connected with it."""
    options = {**optim_options(), 'dtype': precision}
    kind = options.pop('constructor')
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(dict(type=kind, optim_wrapper_cfg=options))(
        model
    )
    wrapper.connect(model)
    return wrapper


def images(batch: int, pinned: bool = False) -> dict[str, Tensor]:
    """A batch as a loader gives it; noise, blurred by enlarging."""
    noise = torch.randint(0, 256, (batch, 3, 40, 20), dtype=torch.uint8).float()
    canvas = torch.nn.functional.interpolate(noise, CANVAS, mode='bilinear').to(torch.uint8)
    data = {
        'canvas': canvas,
        'size': torch.tensor([[300, 140]] * batch),
        'key': torch.arange(batch) * 7919,
    }
    return {name: x.pin_memory() if pinned else x for name, x in data.items()}


def progress_of(number: int) -> Progress:
    """Step ``number`` of a run of one long epoch."""
    return Progress.at(number, 1000, 1000)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum that is trained."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def train_step(model: Pretrainer, wrapper: Any, data: dict[str, Tensor], number: int) -> None:
    """One step: views, forward, backward, update."""
    model.begin_step(progress_of(number))
    with wrapper.optim_context(model):
        prepared = model.data_preprocessor(data, training=True)
        losses = model(**prepared, mode='loss')
    wrapper.update_params(total(losses))
