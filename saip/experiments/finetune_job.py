"""A downstream task that is fine-tuned from several backbones."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.engine.launch import StartError, read_config
from saip.engine.options import parse_options
from saip.experiments.exported_backbones import ExportedBackbone

CONFIG_DIGEST = 'config_sha256'


@dataclass(frozen=True)
class Task:
    """A fine-tuning, apart from the weights that it begins with.

    Attributes:
        config: path of the task's configuration.
        options: as after ``--cfg-options``, ``key=value``.
        gpus: processes; 1 is started without a process group.
        tools: folder of ``train.py`` and ``dist_train.sh``.
    """

    config: str
    options: Sequence[str]
    gpus: int
    tools: Path

    def command(self, work_dir: Path) -> list[str]:
        """Command that trains, or continues what was stopped in ``work_dir``."""
        arguments = ['--work-dir', str(work_dir), '--resume', 'auto']
        if self.options:
            arguments += ['--cfg-options', *self.options]
        if self.gpus == 1:
            return [sys.executable, str(self.tools / 'train.py'), self.config, *arguments]
        script = str(self.tools / 'dist_train.sh')
        return ['bash', script, self.config, str(self.gpus), *arguments]

    def settings(self, cfg: Config, variables: Mapping[str, str]) -> dict[str, Any]:
        """What all points of a curve have in common.

        Args:
            cfg: what :func:`read_task` returns.
            variables: which encoder and weights it was read with.
        """
        return {
            'task': '/'.join(Path(self.config).resolve().parts[-2:]),
            'backbone': variables['SAIP_BACKBONE'],
            'options': sorted(self.options),
            'schedule': float(os.environ.get('SAIP_SCHEDULE', 1)),
            'data': os.environ.get('SAIP_DATA', 'data'),
            'gpus': self.gpus,
            CONFIG_DIGEST: config_digest(cfg, variables['SAIP_INIT']),
        }


def outside(backbone: str, export: ExportedBackbone) -> dict[str, str]:
    """The variables by which a task's configuration gets its encoder and weights."""
    return {'SAIP_BACKBONE': backbone, 'SAIP_INIT': str(export.path.resolve())}


def read_task(task: Task, variables: Mapping[str, str]) -> Config:
    """Read the configuration, and refuse before the first epoch what would show after the last.

    Raises:
        ConfigKeyError: a key that does not exist.
        StartError: it cannot be read, does not begin with the given weights, does not count in
            epochs, has no validation, or does not log to files.
    """
    with environment(variables):
        cfg = read_config(task.config, parse_options(task.options))
    if not _mentions(cfg.get('model'), variables['SAIP_INIT']):
        raise StartError(
            f'{task.config}: its model does not begin with the weights of SAIP_INIT, so every '
            'point would be the same; see configs/_base_/encoder_init.py'
        )
    if not (cfg.get('train_cfg') or {}).get('max_epochs'):
        raise StartError(f'{task.config}: has no train_cfg.max_epochs')
    if not cfg.get('val_dataloader'):
        raise StartError(f'{task.config}: has no val_dataloader, so there is no metric')
    backends = (cfg.get('visualizer') or {}).get('vis_backends') or []
    if not any(str(backend.get('type')).endswith('LocalVisBackend') for backend in backends):
        raise StartError(
            f'{task.config}: visualizer.vis_backends has no LocalVisBackend, whose files the '
            'metrics are read from'
        )
    return cfg


def usual_metric(cfg: Config) -> str | None:
    """The metric that checkpoints are chosen by; None where the first one is, or none."""
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = checkpoint.get('save_best')
    best = best[0] if isinstance(best, list | tuple) else best
    return None if best == 'auto' else best


def config_digest(cfg: Config, weights: str) -> str:
    """SHA-256 of what a configuration says, apart from its weights and from where it writes.

    Args:
        cfg: the configuration.
        weights: path that it begins with, in whose place another says the same.
    """
    content = cfg.to_dict()
    content.pop('work_dir', None)
    visualizer = content.get('visualizer') or {}
    for part in (visualizer, *(visualizer.get('vis_backends') or [])):
        part.pop('save_dir', None)
    text = json.dumps(_plain(content, weights), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(node: Any, weights: str) -> Any:
    """Turn a part of a configuration into what JSON knows, without the path of the weights."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value, weights) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(item, weights) for item in node]
    if node is None or isinstance(node, bool | int | float):
        return node
    return str(node).replace(weights, '$SAIP_INIT')


def _mentions(node: Any, value: str) -> bool:
    if isinstance(node, Mapping):
        return any(_mentions(item, value) for item in node.values())
    if isinstance(node, list | tuple):
        return any(_mentions(item, value) for item in node)
    return node == value


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
