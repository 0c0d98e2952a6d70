"""Find misspelled configuration keys before a run starts, and say what was probably meant."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.checkpoint.renamed import explain_option, find_renamed
from saip.engine.keys import (
    NAMES_OF_ITS_OWN,
    RESERVED,
    ConfigKeyError,
    Keys,
    allowed_keys,
    check_keys,
    is_slip,
    runner_keys,
    unknown_key,
)
from saip.engine.used_variables import check_used_by_bases
from saip.errors import InputError


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
        ConfigKeyError: a misspelled key, with the name that was probably meant, or something that
            is gone, with what took its place.
    """
    where = cfg.filename or 'configuration'
    check_renamed(cfg, where)
    _check_top(cfg, where)
    check_parts(cfg, where)
    check_used_by_bases(cfg)


def check_parts(cfg: Config, where: str) -> None:
    """Check the keys within the parts that mmengine reads, see :func:`saip.engine.keys.check_keys`.

    Raises:
        ConfigKeyError: a misspelled key, with the name that was probably meant.
    """
    check_keys(cfg._cfg_dict, sorted(runner_keys()), where)


def _check_top(cfg: Config, where: str) -> None:
    known = _top_level_keys()
    for key in cfg:
        if key in known or _is_read(key, cfg.text):
            continue
        others = [name for name in (*cfg, *RESERVED) if is_slip(key, name)]
        if not key.startswith('_'):
            others += difflib.get_close_matches(key, known, 1, cutoff=0.8)
        if others:
            raise ConfigKeyError(unknown_key(key, '', others, where))


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
        done: Keys = ()
        for part in option.split('.'):
            path = '.'.join(done)
            if node is None:
                break
            if isinstance(node, Mapping):
                if part not in node:
                    if path in NAMES_OF_ITS_OWN and f'{path}.{part}.type' in given:
                        break
                    _check_new_key(cfg, node, done, part)
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
            done = (*done, part)


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


def _check_new_key(cfg: Config, node: Mapping[str, Any], path: Keys, key: str) -> None:
    """Check a key that a part of the configuration does not have yet."""
    if not path:
        allowed, takes_any = set(node) | _top_level_keys(), False
    else:
        found = allowed_keys(cfg._cfg_dict, path)
        # What a dict of unknown keys has already is all that a misspelled one can be told from.
        takes_any = found is None or found.any_other
        allowed = set(node) | (set() if found is None else found.names)
    named = '.'.join(path)
    if key in allowed:
        return
    if takes_any and named not in NAMES_OF_ITS_OWN:
        allowed = {name for name in allowed if is_slip(key, name)}
        if not allowed:
            return
    raise ConfigKeyError(unknown_key(key, named, allowed, '--cfg-options'))


def _top_level_keys() -> frozenset[str]:
    return runner_keys() | _READ_BESIDES_ARGUMENTS


def _is_read(name: str, text: str) -> bool:
    """Whether the text of a configuration uses a name other than by assigning to it."""
    code = re.sub(r'#.*', '', text or '')
    return re.search(rf'\b{re.escape(name)}\b(?!\s*=[^=])', code) is not None


def _find(cfg: Config, path: str) -> Any:
    node: Any = cfg
    for part in path.split('.'):
        node = node.get(part) if isinstance(node, Config | Mapping) else None
    return node
