"""Backbone files of small encoders, and a process that has nothing but ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from saip.checkpoint import STATISTICS, export_backbone
from saip.models.backbones import BaseEncoder, build_encoder
from saip.registry import MODELS
from tests.tiny import ROOT

SIZE = (64, 32)
VIT = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96),
    img_size=SIZE,
    feature_level=1,
)
RESNET = dict(type='saip.TimmEncoder', model='test_resnet', img_size=SIZE)
ENCODERS = {'vit': VIT, 'resnet': RESNET}
STATISTICS_HERE = {**STATISTICS, 'mean': [120.0, 110.0, 100.0], 'std': [60.0, 50.0, 55.0]}
"""Others than ImageNet's, and another for every channel."""
FRAGMENTS = sorted(path.stem for path in (ROOT / 'configs/_base_/backbones').glob('*.py'))
"""Encoders that configs name."""


def backbone_file(folder: Path, cfg: dict[str, Any]) -> Path:
    """Write the backbone file of an encoder with random weights."""
    torch.manual_seed(1)
    encoder = MODELS.build(cfg)
    encoder.reset_parameters()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after a training
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    checkpoint = {
        'state_dict': {f'backbone.{key}': x for key, x in encoder.state_dict().items()},
        'meta': {'architecture': encoder.architecture(), 'statistics': STATISTICS_HERE},
    }
    return export_backbone(checkpoint, folder, formats=('pth',))


def fragment_file(name: str, folder: Path, size: tuple[int, int]) -> Path:
    """The backbone file of an encoder that configs name; skips where its library is missing."""
    cfg = Config.fromfile(ROOT / f'configs/_base_/backbones/{name}.py').backbone.to_dict()
    try:
        return backbone_file(folder, {**cfg, 'img_size': size})
    except ImportError as error:
        pytest.skip(str(error))


def noise(number: int, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """(number, *size, 3) uint8."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (number, *size, 3), dtype=np.uint8)


def normalized(images: np.ndarray) -> torch.Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) as the encoders of this module take them."""
    mean, std = (np.array(STATISTICS_HERE[key], np.float32) for key in ('mean', 'std'))
    pixels = (images.astype(np.float32) - mean) / std
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())


def outputs_of(encoder: BaseEncoder, images: np.ndarray) -> dict[str, np.ndarray]:
    """What an encoder says of images, under the names of an exported file."""
    with torch.no_grad():
        inputs = normalized(images)
        output = encoder.encode(inputs)
        maps = encoder.feature_maps(inputs, list(encoder.map_channels))
    named = {f'map_{key}': x for key, x in zip(encoder.map_channels, maps, strict=True)}
    return {
        'image_token': output.require_image_token().numpy(),
        'patch_tokens': output.require_patch_tokens().numpy(),
        **{name: x.numpy() for name, x in named.items()},
    }


ALONE = """
import sys
for name in ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmpose', 'mmdet', 'mmseg', 'saip', 'timm'):
    sys.modules[name] = None
import json
import numpy as np
import onnxruntime

model, given, wanted = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
meta = json.loads(session.get_modelmeta().custom_metadata_map['saip'])
names = [output['name'] for output in meta['outputs']]
found = {}
for key, inputs in np.load(given).items():
    assert str(inputs.dtype) == meta['input']['type']
    assert list(inputs.shape[1:]) == meta['input']['shape'][1:]
    for name, value in zip(names, session.run(names, {meta['input']['name']: inputs})):
        found[f'{key} {name}'] = value
np.savez(wanted, **found)
"""


def run_alone(model: Path, batches: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """Outputs of a file in a process without torch and the OpenMMLab packages, by its metadata.

    Returns:
        Arrays by ``BATCH OUTPUT``.
    """
    np.savez(folder / 'given.npz', **batches)
    command = [sys.executable, '-c', ALONE, str(model), 'given.npz', 'found.npz']
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / 'found.npz'))


def build(cfg: dict[str, Any]) -> BaseEncoder:
    return build_encoder(cfg).eval()
