"""Images that are held back for validation or test are not trained on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.errors import StartError

Source = tuple[str, str, Any]
"""Folder, listing and ``holdout`` of a set."""


def check_held_back(cfg: Config, loader: str, remedy: str) -> None:
    """Compare a loader's held-back images with what is trained on.

    An image is held back by its place in the listing's choice, so the two sets have to name the
    same folder, listing and ``holdout``.

    Args:
        cfg: the configuration.
        loader: ``val_dataloader`` or ``test_dataloader``.
        remedy: what else a user can do, for the message.

    Raises:
        StartError: the sets differ in one of them; names both keys with their values.
    """
    if not cfg.get(loader):
        return
    trained = list(_person_sets(cfg.get('train_dataloader'), 'train_dataloader'))
    for key, held in _person_sets(cfg.get(loader), loader):
        if held.get('part') != 'held_back':
            continue
        for train_key, train in trained:
            option = _contradiction(_source(train), _source(held))
            if option == 'data_root' and train.get(option) == held.get(option):
                option = 'data_prefix'
            if option is not None:
                raise StartError(
                    f'{train_key}.{option}={train.get(option)!r}, but '
                    f'{key}.{option}={held.get(option)!r}: images that are held back would be '
                    f'trained on; set both to one value{remedy}'
                )


def _person_sets(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the ``PersonImages`` of a loader, those in wrappers included."""
    if isinstance(node, Mapping):
        if str(node.get('type')).rsplit('.', 1)[-1] == 'PersonImages':
            yield key, node
        for name, value in node.items():
            yield from _person_sets(value, f'{key}.{name}')
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _person_sets(value, f'{key}.{index}')


def _source(images: Mapping[str, Any]) -> Source:
    root = Path(str(images.get('data_root') or ''))
    prefix, listing = (str(images.get(key) or '') for key in ('data_prefix', 'ann_file'))
    folder = os.path.realpath(root / prefix)
    return folder, os.path.realpath(root / listing) if listing else '', images.get('holdout', 0)


def _contradiction(train: Source, held: Source) -> str | None:
    """The option in which two sets differ that have images in common.

    Two listings of one folder may have no image in common, which is unknown before they are
    read; different folders have none unless one lies in the other.
    """
    if train[1] and held[1]:
        return 'holdout' if train[1] == held[1] and train[2] != held[2] else None
    inside = any(
        one == other or one.startswith(f'{other}{os.sep}')
        for one, other in ((train[0], held[0]), (held[0], train[0]))
    )
    if not inside:
        return None
    if train[1] or held[1]:
        return 'ann_file'
    if train[0] != held[0]:
        return 'data_root'
    return 'holdout' if train[2] != held[2] else None
