"""Files and folders that a configuration names and that have to be there when its run starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from saip.errors import MissingFileError

_BELOW_ROOT = ('ann_file',)
_FILES = ('bbox_file', 'keypoints')
_SETS = ('train_dataloader', 'val_dataloader', 'val_evaluator')
_NONE = (None, '', 'none')


def required_paths(cfg: Config) -> dict[str, str]:
    """Paths by the key that names them, of a training and its validation.

    These are folders and files of the data sets, and weights to begin with. What is named by an
    address (``https://``, ``torchvision://``) is no path.
    """
    found: dict[str, str] = {}
    for name in _SETS:
        if cfg.get(name):
            found.update(_of_data(cfg[name], name))
    found.update(_of_weights(cfg.get('model'), 'model'))
    if cfg.get('load_from') not in _NONE:
        found['load_from'] = cfg.load_from
    return {key: path for key, path in found.items() if '://' not in path}


def check_paths(cfg: Config) -> int:
    """Check that all paths of a configuration exist.

    Returns:
        Their number.

    Raises:
        MissingFileError: names every one that does not, with its key.
    """
    paths = required_paths(cfg)
    missing = [f'{key}={path}' for key, path in paths.items() if not os.path.exists(path)]
    if missing:
        raise MissingFileError(
            f'{len(missing)} of {len(paths)} paths do not exist: {"; ".join(missing)}; set these '
            'keys, or the variables of docs/training.md (SAIP_DATA, SAIP_FOLDER, SAIP_INIT ...)'
        )
    return len(paths)


def _of_data(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Paths of data sets, those within others included; of an evaluator its annotations."""
    if isinstance(node, list | tuple):
        for number, entry in enumerate(node):
            yield from _of_data(entry, f'{place}.{number}')
    if not isinstance(node, Mapping):
        return
    root = node.get('data_root')
    root = '' if root in _NONE else str(root)
    if root:
        yield f'{place}.data_root', root
    for key in (*_BELOW_ROOT, *_FILES):
        if isinstance(node.get(key), str) and node[key] not in _NONE:
            # As the data sets do; an absolute path stays what it is.
            yield f'{place}.{key}', os.path.join(root * (key in _BELOW_ROOT), node[key])
    for key in ('dataset', 'datasets', 'metrics'):
        yield from _of_data(node.get(key), f'{place}.{key}')


def _of_weights(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Files of weights: ``checkpoint`` of any part of a model."""
    if isinstance(node, list | tuple):
        for number, entry in enumerate(node):
            yield from _of_weights(entry, f'{place}.{number}')
    elif isinstance(node, Mapping):
        if isinstance(node.get('checkpoint'), str) and node['checkpoint'] not in _NONE:
            yield f'{place}.checkpoint', node['checkpoint']
        for key, entry in node.items():
            yield from _of_weights(entry, f'{place}.{key}')
