"""Weights that mmdet, mmpose or mmpretrain trained with supervision, such as those of CSPNeXt.

``saip.OpenMMLabEncoder`` holds the library's own backbone, so its keys only gain the prefix
``mm_model.``.
"""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config

from saip.checkpoint import STATISTICS, CheckpointError, parse_config_text
from saip.engine.converters.files import (
    Conversion,
    StateDict,
    describe,
    fit,
    read_weights,
    write_weights,
)
from saip.errors import InputError, library_refusals
from saip.models.backbones import BaseEncoder
from saip.registry import MODELS

BACKBONE = 'backbone.'
PREFIX = 'mm_model.'


def openmmlab_to_saip(
    source: str | os.PathLike, target: str | os.PathLike, backbone: str | os.PathLike
) -> Conversion:
    """Write the backbone of a detector, pose model or classifier as an encoder of ours.

    Neck and heads are dropped. A backbone that was fed BGR gets its first convolution's input
    channels reversed, so that it answers RGB as it answered BGR.

    Args:
        source: checkpoint with the stock backbone below ``backbone.``, or a bare one.
        target: file to write; ``.safetensors`` or any torch suffix.
        backbone: fragment (``backbone=dict(type='saip.OpenMMLabEncoder', ...)``) that describes
            the network, which no checkpoint does.

    Raises:
        CheckpointError: the weights are not those of the fragment's network.
        ValueError: the fragment describes no such encoder.
        ImportError: no library that has the network is installed.
        OSError: a file cannot be read or written.
    """
    weights, meta = read_weights(source)
    encoder = _build(backbone)
    own = {key: x for key, x in weights.items() if key.startswith(BACKBONE)} or weights
    dropped = tuple(key for key in weights if key not in own)
    tensors = {f'{PREFIX}{key.removeprefix(BACKBONE)}': x for key, x in own.items()}
    statistics, notes = _statistics(meta)
    if statistics['color_order'] == 'BGR':
        name = _take_rgb(tensors)
        statistics = {
            'mean': statistics['mean'][::-1],
            'std': statistics['std'][::-1],
            'color_order': 'RGB',
        }
        notes = (f'note: it was fed BGR; the input channels of {name} are reversed for RGB',)
    if statistics != STATISTICS:
        notes += (
            f'note: its pixels were normalized with mean {statistics["mean"]} and std '
            f'{statistics["std"]}, which the file records; SAIP configurations use those of '
            'ImageNet unless data_preprocessor.mean and .std say otherwise',
        )
    fit(encoder, tensors, f'the network that {backbone} describes')
    described = describe(
        {'architecture': encoder.architecture(), 'statistics': statistics}, encoder
    )
    tensors = {f'{BACKBONE}{key}': value for key, value in encoder.state_dict().items()}
    write_weights(target, tensors, described, source)
    return Conversion(str(target), len(tensors), dropped, notes)


def _build(fragment: str | os.PathLike) -> BaseEncoder:
    """Build the encoder that a backbone fragment describes, with random weights."""
    with library_refusals(os.fspath(fragment)):
        cfg = Config.fromfile(os.fspath(fragment)).get('backbone') or {}
        if cfg.get('type') == 'saip.OpenMMLabEncoder':
            return MODELS.build(cfg)
    raise InputError(
        f'{fragment}: its backbone is {cfg.get("type")}, not saip.OpenMMLabEncoder; weights of a '
        'ViT or of a network of timm are read by mmpretrain_to_saip.py and timm_to_saip.py'
    )


def _statistics(meta: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Statistics of the pixels that the configuration in a meta names, as they were fed.

    Returns:
        The statistics, those of ImageNet where the meta does not tell them, and lines about that.
    """
    try:
        config = parse_config_text(str(meta.get('cfg') or ''))
    except CheckpointError:
        config = {}
    for owner in (config.get('model'), config):
        match owner:
            case {'data_preprocessor': {'mean': [*mean], 'std': [*std], **rest}}:
                reordered = rest.get('bgr_to_rgb') or rest.get('to_rgb')
                return {
                    'mean': [float(x) for x in mean],
                    'std': [float(x) for x in std],
                    'color_order': 'RGB' if reordered else 'BGR',
                }, ()
    return STATISTICS, (
        'note: the file does not say how its pixels were normalized, nor the order of its '
        'colors; the statistics of ImageNet, RGB, are recorded',
    )


def _take_rgb(tensors: StateDict) -> str:
    """Reverse the input channels of the convolution that reads the image; return its name."""
    first = [key for key, x in tensors.items() if x.ndim == 4 and x.shape[1] == 3]
    if len(first) != 1:
        raise CheckpointError(
            f'it was fed BGR, and {len(first)} convolutions instead of one have 3 input channels, '
            'so it cannot be told which reads the image'
        )
    tensors[first[0]] = tensors[first[0]].flip(1)
    return first[0].removeprefix(PREFIX)
