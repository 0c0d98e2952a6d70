"""Find misspelt configuration keys before a run starts, and say what was probably meant."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry, root
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    LogProcessor,
    Runner,
    set_random_seed,
)
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from saip.checkpoint.renamed import explain_option, find_renamed
from saip.errors import InputError


class ConfigKeyError(InputError):
    """A key of a configuration that nothing will ever read."""


class ConflictError(InputError):
    """Two places of a configuration contradict each other."""


_READ_BESIDES_ARGUMENTS = {
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
    # The libraries' configs keep their pipelines under these names.
    'train_pipeline',
    'val_pipeline',
    'test_pipeline',
    'vis_backends',
}
"""Top-level keys that mmengine, its tools or every shipped configuration read by name."""


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {'self', 'cls', 'kwargs'}


_LOADER = _parameters(DataLoader) | {'dataset', 'num_batch_per_epoch'}
_SECTIONS: dict[str, set[str]] = {
    'auto_scale_lr': {'base_batch_size', 'enable'},
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': _parameters(set_multi_processing) - {'distributed'},
    'log_processor': _parameters(LogProcessor) | {'type'},
    'optim_wrapper': {'type', 'optimizer', 'paramwise_cfg', 'constructor'},
    'randomness': _parameters(set_random_seed),
    'train_cfg': _parameters(EpochBasedTrainLoop)
    | _parameters(IterBasedTrainLoop) - {'runner', 'dataloader'}
    | {'by_epoch', 'type'},
    'train_dataloader': _LOADER,
    'val_dataloader': _LOADER,
    'test_dataloader': _LOADER,
}
_OPEN = ('model.objectives', 'model.data_preprocessor.views')
"""Dicts whose entries have names of their own."""
"""Keys of the parts of a configuration that name no class, or that mmengine itself reads."""

_SILENT_SECTIONS = ('auto_scale_lr', 'env_cfg', 'env_cfg.mp_cfg', 'randomness')
"""Those of them in which mmengine ignores a misspelt key."""

_OF_TESTED_IMAGES = ('saip.FashionpediaMetric',)
"""Metrics that count the images which are tested, whatever else their file holds."""


def explain_missing_base(error: FileNotFoundError) -> str:
    """Say which base of a configuration is missing, what chose it, and what there is instead."""
    if error.filename is None:  # a configuration of a library, which has its own words
        return str(error)
    missing = Path(error.filename)
    chosen_by = [
        f'{name}={value}: '
        for name, value in os.environ.items()
        if name.startswith('SAIP_') and value == missing.stem
    ]
    others = sorted(path.stem for path in missing.parent.glob('*.py'))
    hint = f'; choose one of {", ".join(others)}' if others else ''
    return f'{"".join(chosen_by)}there is no {os.path.normpath(missing)}{hint}'


def check_config(cfg: Config) -> None:
    """Check the keys of a configuration that mmengine would ignore in silence.

    A configuration may define variables of its own, so an unknown name at the top is an error
    only where no file of the configuration reads it and it resembles a name that the Runner
    reads.

    Raises:
        ConfigKeyError: a misspelt key, with the name that was probably meant, or something that
            is gone, with what took its place.
    """
    check_renamed(cfg, cfg.filename or 'configuration')
    known = _top_level_keys()
    for key in cfg:
        if key in known or key.startswith('_') or _is_read(key, cfg.text):
            continue
        if difflib.get_close_matches(key, known, 1, cutoff=0.8):
            raise ConfigKeyError(_message(key, '', known, cfg.filename))
    for path in _SILENT_SECTIONS:
        section = _find(cfg, path)
        if isinstance(section, Mapping):
            for key in section:
                if key not in _SECTIONS[path]:
                    raise ConfigKeyError(_message(key, path, _SECTIONS[path], cfg.filename))


def check_renamed(cfg: Config, where: str) -> None:
    """Refuse names that are gone.

    Args:
        cfg: the configuration.
        where: the names may stand, for the message.

    Raises:
        ConfigKeyError: something that is gone, with what took its place.
    """
    gone = find_renamed(cfg._cfg_dict)
    if gone is not None:
        raise ConfigKeyError(f'{where}: {gone}')


def check_options(cfg: Config, options: Iterable[str]) -> None:
    """Check that the dotted keys of ``--cfg-options`` name something.

    A key that the configuration does not have is right where the class that its surroundings
    configure takes an argument of that name, or where it adds an objective or a view and the
    options say of which type it is.

    Args:
        cfg: the configuration before the options are merged.
        options: keys such as ``model.objectives.css`` or ``custom_hooks.0.interval``.

    Raises:
        ConfigKeyError: a key names nothing, with the name that was probably meant.
    """
    given = list(options)
    for option in given:
        gone = explain_option(option)
        if gone is not None:
            raise ConfigKeyError(f'--cfg-options {gone}')
        node: Any = cfg._cfg_dict
        done: list[str] = []
        for part in option.split('.'):
            path = '.'.join(done)
            if node is None:
                break
            if isinstance(node, Mapping):
                if part not in node:
                    if path in _OPEN and f'{path}.{part}.type' in given:
                        break
                    _check_new_key(cfg, node, path, part)
                    break
                node = node[part]
            elif isinstance(node, list | tuple):
                if not part.isdigit() or int(part) >= len(node):
                    raise ConfigKeyError(
                        f'--cfg-options {option}: {path} is a list of {len(node)}, it has no '
                        f'{part!r}'
                    )
                node = node[int(part)]
            else:
                raise ConfigKeyError(
                    f'--cfg-options {option}: {path} is {node!r}, it has no key {part!r}'
                )
            done.append(part)


def check_evaluated_files(cfg: Config, part: str) -> None:
    """Check that an evaluator compares with the annotations of the data set.

    Both name the file, and predictions for a part of the images, compared with all, are scored
    as if the rest had been missed.

    Args:
        cfg: the configuration with its options.
        part: ``val`` or ``test``.

    Raises:
        ConflictError: they name different files.
    """
    key = f'{part}_dataloader.dataset'
    dataset, evaluators = _find(cfg, key), cfg.get(f'{part}_evaluator')
    annotated = dataset.get('ann_file') if isinstance(dataset, Mapping) else None
    if not annotated or not isinstance(annotated, str):
        return
    _warn_of_a_part(dataset, evaluators, key)
    # As mmengine's data sets do; an absolute path stays what it is.
    annotated = os.path.join(dataset.get('data_root') or '', annotated)
    listed = isinstance(evaluators, list | tuple)
    for number, evaluator in enumerate(evaluators if listed else [evaluators]):
        compared = evaluator.get('ann_file') if isinstance(evaluator, Mapping) else None
        if not compared or os.path.realpath(compared) == os.path.realpath(annotated):
            continue
        other = f'{part}_evaluator.{number}' if listed else f'{part}_evaluator'
        raise ConflictError(
            f'{key}.ann_file is {os.path.normpath(annotated)}, but {other}.ann_file '
            f'{os.path.normpath(compared)}: predictions for one file would be compared with the '
            'annotations of another; set both keys'
        )


def _warn_of_a_part(dataset: Mapping[str, Any], evaluators: Any, key: str) -> None:
    """Warn of images that are left out of a test, but not out of what it is compared with."""
    listed = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    whole = any(
        isinstance(e, Mapping) and e.get('ann_file') and e.get('type') not in _OF_TESTED_IMAGES
        for e in listed
    )
    if dataset.get('indices') is not None and whole:
        print(
            f'warning: {key}.indices={dataset["indices"]} takes a part of the images, but the '
            'evaluator compares with the whole file: what is left out counts as missed, and the '
            'figures mean nothing. For figures of a part write a file with its annotations and '
            'set both ann_file',
            file=sys.stderr,
        )


def _check_new_key(cfg: Config, node: Mapping[str, Any], path: str, key: str) -> None:
    """Check a key that a part of the configuration does not have yet."""
    allowed = set(node)
    if not path:
        allowed |= _top_level_keys()
    allowed |= _SECTIONS.get(path, set())
    takes_any = False
    kind = node.get('type', 'OptimWrapper' if path == 'optim_wrapper' else None)
    if kind is not None:
        found = [_arguments(cls) for cls in _classes(kind, cfg.get('default_scope'))]
        if not found:
            return  # building it will say that there is no such type
        allowed |= set().union(*(names for names, _ in found))
        takes_any = any(anything for _, anything in found)
    if key in allowed:
        return
    if takes_any and not difflib.get_close_matches(key, allowed, 1, cutoff=0.8):
        return
    raise ConfigKeyError(_message(key, path, allowed, '--cfg-options'))


def _top_level_keys() -> set[str]:
    return _parameters(Runner) | _READ_BESIDES_ARGUMENTS


def _is_read(name: str, text: str) -> bool:
    """Whether the text of a configuration uses a name other than by assigning to it."""
    code = re.sub(r'#.*', '', text or '')
    return re.search(rf'\b{re.escape(name)}\b(?!\s*=[^=])', code) is not None


def _find(cfg: Config, path: str) -> Any:
    node: Any = cfg
    for part in path.split('.'):
        node = node.get(part) if isinstance(node, Config | Mapping) else None
    return node


def _classes(kind: Any, scope: str | None) -> list[Any]:
    """Return what a ``type`` of a configuration may stand for."""
    if not isinstance(kind, str):
        return [kind]
    found = []
    for registry in vars(root).values():
        if isinstance(registry, Registry):
            with registry.switch_scope_and_registry(scope) as scoped:
                found.append(scoped.get(kind))
    return [cls for cls in found if cls is not None]


def _arguments(function: Any) -> tuple[set[str], bool]:
    """Return the arguments of a class or function, and whether it takes any others."""
    initializers = [function]
    if inspect.isclass(function):
        initializers = [
            c.__dict__['__init__'] for c in function.__mro__ if '__init__' in vars(c)
        ]
    names: set[str] = set()
    for initializer in initializers:
        parameters = inspect.signature(initializer).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names |= {p.name for p in parameters if p.kind in named}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {'self'}, False
    return names - {'self'}, True


def _message(key: str, path: str, allowed: Iterable[str], where: str | None) -> str:
    place = f'in {path}' if path else 'at the top level'
    close = difflib.get_close_matches(key, list(allowed), 1)
    hint = f'did you mean {close[0]!r}?' if close else f'allowed: {", ".join(sorted(allowed))}'
    return f'{where or "configuration"}: no key {key!r} {place}; {hint}'
