"""Which classes the ``type`` of a part of a configuration may stand for."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    FUNCTIONS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    WEIGHT_INITIALIZERS,
    Registry,
    root,
)
from mmengine.utils import get_object_from_string

from saip.registry import MASKERS, VIEWS

Keys = tuple[str, ...]
"""Keys from the top of a configuration; an entry of a list is its number."""

_BY_KEY: dict[str, tuple[Registry, ...]] = {
    'views': (VIEWS,),
    'mask': (MASKERS,),
    'init_cfg': (WEIGHT_INITIALIZERS,),
    'dataset': (DATASETS,),
    'datasets': (DATASETS,),
    'pipeline': (TRANSFORMS,),
    'transforms': (TRANSFORMS,),
    'sampler': (DATA_SAMPLERS,),
    'batch_sampler': (DATA_SAMPLERS,),
    'collate_fn': (FUNCTIONS,),
    'worker_init_fn': (FUNCTIONS,),
    'optimizer': (OPTIMIZERS,),
    'constructor': (OPTIM_WRAPPER_CONSTRUCTORS,),
    'vis_backends': (VISBACKENDS,),
}
"""By the key of a part, or of the list or dict that it stands in."""

_BY_TOP: dict[str, tuple[Registry, ...]] = {
    'custom_hooks': (HOOKS,),
    'default_hooks': (HOOKS,),
    'log_processor': (LOG_PROCESSORS,),
    'model': (MODELS,),
    'model_wrapper_cfg': (MODEL_WRAPPERS,),
    'optim_wrapper': (OPTIM_WRAPPERS,),
    'param_scheduler': (PARAM_SCHEDULERS,),
    'test_cfg': (LOOPS,),
    'test_evaluator': (METRICS, EVALUATOR),
    'test_pipeline': (TRANSFORMS,),
    'train_cfg': (LOOPS,),
    'train_pipeline': (TRANSFORMS,),
    'tta_model': (MODELS,),
    'tta_pipeline': (TRANSFORMS,),
    'val_cfg': (LOOPS,),
    'val_evaluator': (METRICS, EVALUATOR),
    'val_pipeline': (TRANSFORMS,),
    'visualizer': (VISUALIZERS,),
}
"""By the first key."""

TAKEN_BY_BUILDERS: dict[Registry, frozenset[str]] = {
    HOOKS: frozenset({'priority'}),
    LOOPS: frozenset({'by_epoch'}),
    MODELS: frozenset({'requires_grad'}),  # of a norm layer
    OPTIM_WRAPPERS: frozenset({'constructor', 'paramwise_cfg', 'optimizer'}),
    PARAM_SCHEDULERS: frozenset({'convert_to_iter_based', 'epoch_length'}),
}
"""What mmengine takes out of a part before it builds it."""


def likely_registries(path: Keys) -> tuple[tuple[Registry, ...], bool]:
    """Registries that build the part of a configuration at a path, and whether no others can.

    What stands deeper in a part is built, or only read, by the class of that part.
    """
    if path[-2:-1] == ('views',):
        return _BY_KEY['views'], True
    named = [key for key in path if not key.isdigit()]
    if named[-1] in _BY_KEY:
        return _BY_KEY[named[-1]], True
    return _BY_TOP.get(path[0], ()), len(named) == 1


def classes_of(kind: Any, path: Keys, scope: str | None) -> list[tuple[Any, Registry | None]]:
    """Return what a ``type`` may stand for, and the registries that hold it.

    The registries that the path speaks for come first; only where they know no such type the
    others are asked. Nothing is imported that building would not import.

    Args:
        kind: value of ``type``.
        path: of the part.
        scope: the default scope of the configuration.
    """
    likely, only = likely_registries(path)
    if not isinstance(kind, str):
        return [(kind, likely[0] if likely else None)]
    place, _, name = kind.rpartition('.')
    wanted = place or scope or 'mmengine'
    if not _is_importable(f'{wanted}.registry'):
        return [(cls, None) for cls in _by_full_name(kind)] if place else []
    found = _found(name, likely, wanted, exact=bool(place))
    if found or only:
        return found
    return _found(name, _all_but(likely, wanted), wanted, exact=bool(place))


def _by_full_name(name: str) -> list[Any]:
    """A class that is named with its module, as ``torch.optim.AdamW``."""
    try:
        found = get_object_from_string(name)
    except (ImportError, AttributeError, ValueError):
        found = None
    return [] if found is None else [found]


@cache
def _is_importable(module: str) -> bool:
    """Import a library's registries; False if it is not installed, or not in a fitting version."""
    try:
        import_module(module)
    except (ImportError, AssertionError):  # they assert versions
        return False
    return True


@cache
def _is_filled(registry: Registry) -> bool:
    """Import what registers its classes; False where a library for that is missing."""
    try:
        registry.import_from_location()
    except (ImportError, AssertionError):
        return False
    return True


def _found(
    name: str, registries: tuple[Registry, ...], scope: str, exact: bool
) -> list[tuple[Any, Registry | None]]:
    """Look a name up, in the scope and, unless it is exact, in mmengine's own registry."""
    found: list[tuple[Any, Registry | None]] = []
    for registry in registries:
        child = registry.children.get(scope, registry)
        for each in (child,) if exact else dict.fromkeys((child, registry)):
            if _is_filled(each) and name in each.module_dict:
                found.append((each.module_dict[name], registry))
                break
    return found


def _all_but(likely: tuple[Registry, ...], scope: str) -> tuple[Registry, ...]:
    """The other registries of mmengine, and those that the libraries have of their own."""
    modules = [root, sys.modules['saip.registry'], sys.modules[f'{scope}.registry']]
    every = [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, Registry) and each.parent is None
    ]
    return tuple(each for each in dict.fromkeys(every) if each not in likely)
