"""Which file of ``configs/_base_/backbones`` describes the encoder of given weights."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from saip.checkpoint import architecture_differences
from saip.errors import InputError, library_refusals
from saip.registry import MODELS

VARIABLE = 'SAIP_BACKBONE'


def find_backbone_config(architecture: dict[str, Any], folder: Path) -> str:
    """Name the fragment whose encoder takes weights of this architecture.

    ``SAIP_BACKBONE`` in the environment is the choice, if it is set, and is checked.

    Args:
        architecture: of the weights, as an exported file's meta has it.
        folder: of the fragments.

    Returns:
        The name of the file without ``.py``.

    Raises:
        ValueError: the fragment of ``SAIP_BACKBONE`` does not exist or is of another
            architecture; without it, no fragment fits, or several do.
    """
    names = sorted(path.stem for path in folder.glob('*.py'))
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        if chosen not in names:
            raise InputError(
                f'{VARIABLE}={chosen}: there is no such file in {folder}; choose one of '
                f'{", ".join(names)}'
            )
        differing = _differences(architecture, folder / f'{chosen}.py')
        if differing:
            raise InputError(
                f'{VARIABLE}={chosen}: another encoder than that of the backbones: '
                f'{"; ".join(differing)}. Unset it, and the right one is looked for'
            )
        return chosen
    fitting = fitting_backbone_configs(architecture, folder)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f'{", ".join(fitting)} of {folder} all fit the backbones; set {VARIABLE} to one'
        )
    raise InputError(
        f'none of {", ".join(names)} in {folder} fits the encoder of the backbones, '
        f'{architecture}; add a file for it there'
    )


def fitting_backbone_configs(architecture: dict[str, Any], folder: Path) -> list[str]:
    """Names of all fragments whose encoder is the one of these weights.

    Networks that differ in ``output_stride`` alone take each other's weights, but a backbone was
    trained as one of them.
    """
    names = sorted(path.stem for path in folder.glob('*.py'))
    return [
        name
        for name in names
        if not _differences(architecture, path := folder / f'{name}.py')
        and _read(path).get('output_stride') == architecture.get('output_stride')
    ]


def _read(fragment: Path) -> dict[str, Any]:
    with library_refusals(str(fragment)):
        return dict(Config.fromfile(fragment).backbone)


def _differences(architecture: dict[str, Any], fragment: Path) -> list[str]:
    backbone = _read(fragment)
    # Encoders of another kind need not be built, and their library need not be installed.
    if backbone['type'] != architecture['type']:
        return [
            f'type is {architecture["type"]} in the file and {backbone["type"]} in the model'
        ]
    built = _architecture(fragment, fragment.stat().st_mtime_ns)
    return architecture_differences(architecture, built)


@lru_cache
def _architecture(fragment: Path, changed: int) -> dict[str, Any]:
    """What the fragment builds, once for every state of its file: a second for a large one."""
    with torch.device('meta'):  # weights would take seconds more
        return MODELS.build(_read(fragment)).architecture()
