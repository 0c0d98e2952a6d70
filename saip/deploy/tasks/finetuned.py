"""A fine-tuned model from its checkpoint alone.

Legend: B images, h and w of the input.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from saip.checkpoint import CheckpointError, parse_config_text
from saip.deploy.program import FromPixels
from saip.engine.converters.files import fit
from saip.errors import MissingLibraryError, library_refusals
from saip.registry import MODELS
from saip.structures import Grid

SETTINGS = ('init_cfg', 'pretrained')
"""Options that name where weights begin: those of the checkpoint are taken."""


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned model and what its checkpoint says of it.

    Attributes:
        model: in eval mode, with its weights.
        config: of the training, plain values.
        dataset: what the training set says of itself, such as ``classes``.
        meta: of the checkpoint.
    """

    model: Any
    config: dict[str, Any]
    dataset: dict[str, Any]
    meta: dict[str, Any]

    @property
    def resize(self) -> str:
        """Filter of Pillow by which the test brings images to their size."""
        loader = self.config.get('test_dataloader') or {}
        for step in (loader.get('dataset') or {}).get('pipeline') or []:
            if step.get('type') == 'Resize':
                return step.get('interpolation', 'bilinear')
        return 'bilinear'

    def from_pixels(self, network: nn.Module) -> nn.Module:
        """Put the model's normalization before a network, in eval mode."""
        options = self.config['model']['data_preprocessor']
        flipped = options.get('to_rgb') or options.get('bgr_to_rgb')
        mean, std = options.get('mean') or [0.0] * 3, options.get('std') or [1.0] * 3
        return FromPixels(network, mean, std, bgr=not flipped).eval()


def task_config(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration in a checkpoint's meta, if it is one of a model with a head of its own.

    A pretraining has objectives, an exported backbone no configuration.

    Raises:
        CheckpointError: it holds more than plain values.
    """
    if 'cfg' not in meta:
        return None
    config = parse_config_text(meta['cfg'])
    model = config.get('model') or {}
    return config if any(key.endswith('head') for key in model) else None


def load_finetuned(
    checkpoint: dict[str, Any], config: dict[str, Any], package: str
) -> Finetuned:
    """Build the model of a configuration and give it the weights of a checkpoint, all of them.

    Args:
        checkpoint: as :func:`saip.checkpoint.load_checkpoint_file` gives it.
        config: its configuration.
        package: module that registers the task's parts.

    Raises:
        MissingLibraryError: the task's library is not installed.
        CheckpointError: the configuration cannot be built, or the weights are others.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        if str(error.name).startswith('saip'):
            raise
        raise MissingLibraryError(
            f'{package} needs a library that cannot be imported: {error}'
        ) from error
    cfg = ConfigDict(_without_settings(config['model']))
    scope = config.get('default_scope') or 'mmpretrain'
    with (
        library_refusals('its configuration', CheckpointError),
        DefaultScope.overwrite_default_scope(scope),
    ):
        model = MODELS.build(cfg)
    fit(model, checkpoint['state_dict'], 'the model in its configuration')
    meta = checkpoint.get('meta') or {}
    return Finetuned(model.eval(), config, dict(meta.get('dataset_meta') or {}), meta)


def _without_settings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_settings(x) for key, x in value.items() if key not in SETTINGS}
    if isinstance(value, list | tuple):
        return type(value)(_without_settings(x) for x in value)
    return value


def names_of(values: Any) -> list[str] | None:
    """Names of classes as plain texts; None where the training set has not stated them."""
    return None if values is None else [str(name) for name in values]


def trained_size(config: Mapping[str, Any]) -> Grid:
    """(height, width) of the images, as the encoder's configuration has it."""
    backbone = config['model']['backbone']
    height, width = backbone.get('encoder', backbone)['img_size']
    return int(height), int(width)
