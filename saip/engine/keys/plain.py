"""Keys of the dicts that have no ``type``, where they are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch.distributed
from mmengine.dist import init_dist
from mmengine.evaluator import Evaluator
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from saip.engine.keys.registered import Keys, classes_of
from saip.engine.keys.signatures import Arguments, arguments_of, keys_read
from saip.views.augment import Augment, Jitter


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) - {'self', 'cls', 'kwargs'}


_LOADER = _parameters(DataLoader) | {'dataset', 'num_batch_per_epoch'}
_LOOP = _parameters(EpochBasedTrainLoop) | _parameters(IterBasedTrainLoop)
_CLIP = _parameters(clip_grad_norm_) | _parameters(clip_grad_value_)
_PROCESSES = _parameters(init_dist) | _parameters(torch.distributed.init_process_group)

_BY_PATH: dict[str, frozenset[str]] = {
    'auto_scale_lr': frozenset({'base_batch_size', 'enable'}),
    'custom_imports': frozenset({'imports', 'allow_failed_imports'}),
    'env_cfg': frozenset({'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'}),
    'env_cfg.dist_cfg': _PROCESSES - {'launcher'} | {'init_backend', 'port'},
    'env_cfg.mp_cfg': _parameters(set_multi_processing) - {'distributed'},
    'model.init_from': frozenset({'checkpoint', 'prefixes', 'allow_missing'}),
    'randomness': _parameters(set_random_seed),
    'test_dataloader': _LOADER,
    'test_evaluator': _parameters(Evaluator) | {'type'},
    'train_cfg': _LOOP - {'runner', 'dataloader'} | {'by_epoch', 'type'},
    'train_dataloader': _LOADER,
    'val_dataloader': _LOADER,
    'val_evaluator': _parameters(Evaluator) | {'type'},
}

_BY_CLASS: dict[tuple[str, str], frozenset[str]] = {
    ('ViTEncoder', 'arch'): frozenset(
        {'embed_dims', 'num_layers', 'num_heads', 'feedforward_channels'}
    ),
    ('ViTEncoder', 'controller'): frozenset({'condition'}),
    ('TimmEncoder', 'controller'): frozenset({'condition'}),
    ('OpenMMLabEncoder', 'controller'): frozenset({'condition'}),
}
"""By the name of our class and its argument."""

DEFAULT_TYPES = {
    'log_processor': 'LogProcessor',
    'optim_wrapper': 'OptimWrapper',
    'test_cfg': 'TestLoop',
    'val_cfg': 'ValLoop',
}
"""What mmengine builds where a part names no type."""

NEVER_BUILT = ('clip_grad',)
"""Parts whose ``type`` names no class."""

NAMES_OF_ITS_OWN = ('default_hooks', 'model.objectives', 'model.data_preprocessor.views')
"""Dicts whose entries have names that are theirs alone."""


def known_keys(cfg: Mapping[str, Any], path: Keys, scope: str | None) -> Arguments | None:
    """Keys that a dict without a type may have.

    Args:
        cfg: the whole configuration.
        path: of the dict in it.
        scope: the default scope of the configuration.

    Returns:
        The keys; None where they are not known.
    """
    keys = _BY_PATH.get('.'.join(path))
    # An optimizer may read more of a group, such as LARS its lars_exclude.
    open_to_others = path[-2:-1] == ('custom_keys',)
    if path[-1] == 'augment' and 'views' in path:
        keys = _fields(Augment)
    elif path[-2:] == ('augment', 'jitter'):
        keys = _fields(Jitter)
    elif path[0] == 'optim_wrapper' and len(path) > 1:
        keys = _of_wrapper(cfg, path, scope)
    elif keys is None:
        kind = part_of(cfg, path[:-1]).get('type', '')
        keys = _BY_CLASS.get((str(kind).rpartition('.')[2], path[-1]))
    return None if keys is None else Arguments(keys, open_to_others)


def part_of(cfg: Mapping[str, Any], path: Keys) -> Mapping[str, Any]:
    """The dict at a path; an empty one where something else stands."""
    node: Any = cfg
    for key in path:
        listed = isinstance(node, list | tuple)
        node = node[int(key)] if listed else _dict(node).get(key)
    return _dict(node)


def _dict(node: Any) -> Mapping[str, Any]:
    """The value itself if it is a dict, else an empty one."""
    return node if isinstance(node, Mapping) else {}


def runner_keys() -> frozenset[str]:
    """Top-level keys of a configuration that a run reads; all others are variables."""
    return _parameters(Runner) | {'custom_imports', 'model_wrapper_cfg'}


def _fields(cls: Any) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls))


def _of_wrapper(cfg: Mapping[str, Any], path: Keys, scope: str | None) -> frozenset[str] | None:
    """Keys of a dict within an optimizer wrapper, which may be one of several."""
    if path[-1] == 'clip_grad':
        return _CLIP - {'parameters'} | {'type'}
    if path[-1] == 'paramwise_cfg':
        return _paramwise(part_of(cfg, path[:-1]), scope)
    if path[-2] == 'custom_keys':
        optimizer = part_of(cfg, path[:-3]).get('optimizer') or {}
        return _SETTINGS | _taken(optimizer.get('type'), (*path[:-3], 'optimizer'), scope)
    return None


_SETTINGS = frozenset({'lr_mult', 'decay_mult'})


def _taken(kind: Any, path: Keys, scope: str | None) -> frozenset[str]:
    found = classes_of(kind, path, scope) if kind else []
    return frozenset().union(*(arguments_of(cls).names for cls, _ in found))


def _paramwise(wrapper: Mapping[str, Any], scope: str | None) -> frozenset[str] | None:
    """What the constructor of a wrapper reads of ``paramwise_cfg``; None if nothing is found."""
    kind = wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
    found = classes_of(kind, ('optim_wrapper', 'constructor'), scope)
    classes: list[Any] = [cls for cls, _ in found if inspect.isclass(cls)]
    return frozenset().union(*(keys_read(cls, 'paramwise_cfg') for cls in classes)) or None
