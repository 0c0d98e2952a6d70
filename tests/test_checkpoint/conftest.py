"""Checkpoints that several tests read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import save_checkpoint

from saip.checkpoint import export_backbone, load_checkpoint_file
from tests.test_checkpoint.checkpoint_files import CONFIG, small_encoder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A checkpoint as mmengine's Runner writes it, message hub and all."""
    torch.manual_seed(0)
    student, expert = small_encoder().state_dict(), small_encoder().state_dict()
    history = HistoryBuffer()
    for value in (3.0, 2.0):
        history.update(value)
    checkpoint = {
        'meta': {'cfg': Config(CONFIG).pretty_text, 'epoch': 3, 'iter': 30, 'time': 'now'},
        'state_dict': {
            **{f'backbone.{key}': value for key, value in student.items()},
            **{f'expert.backbone.{key}': value for key, value in expert.items()},
            'objectives.csm.head.center': torch.zeros(1, 4),
        },
        'message_hub': {
            'log_scalars': {'train/loss': history},
            'runtime_info': {'eta': np.float64(1.5), 'best': np.float32(2), 'n': np.int64(3)},
        },
        'optimizer': {'state': {}, 'param_groups': [{'lr': 1e-3, 'betas': (0.9, 0.95)}]},
    }
    path = tmp_path / 'run' / 'epoch_3.pth'
    path.parent.mkdir()
    save_checkpoint(checkpoint, str(path))
    return path


@pytest.fixture
def exported(training: Path, tmp_path: Path) -> Path:
    return export_backbone(load_checkpoint_file(training), tmp_path / 'out', source=training)
