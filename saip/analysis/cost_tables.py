"""Tables of parameters and floating-point operations, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.analysis.flops import TABLE_1, encoder_cost
from saip.analysis.step_flops import step_cost
from saip.errors import InputError, library_refusals

SIZE = (256, 128)
"""(height, width) of the image that an encoder's operations are counted for."""

CONVENTIONS = (
    'GFLOPs count a multiply-add as two operations, GMACs as one (what many papers call FLOPs). '
    'Matrix products (attention included) and convolutions are counted; norms, activations and '
    'softmax are not.'
)


def cost_tables(paths: Sequence[Path], size: tuple[int, int] | None = None) -> str:
    """Cost of encoders for one image, and of pretraining steps per image.

    Args:
        paths: backbone fragments, pretraining configurations or both.
        size: (height, width) of the encoders' image; None takes 256x128.

    Raises:
        ValueError: a configuration is neither, cannot be built, or trains at sizes of its own
            while one is given.
        OSError: a configuration cannot be read.
    """
    backbones: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    for path in paths:
        with library_refusals(str(path)):
            cfg = Config.fromfile(path)
        if 'objectives' in cfg.get('model', {}):
            models[path.name] = cfg.model
        elif 'backbone' in cfg:
            backbones[path.stem] = cfg.backbone
        else:
            raise InputError(
                f'{path}: neither a backbone fragment (backbone=...) nor a pretraining '
                'configuration (model=dict(objectives=...))'
            )
    if models and size is not None:
        raise InputError(
            f'{next(iter(models))} says at which sizes it trains; leave --size out'
        )
    tables = [encoder_table(backbones, size or SIZE)] if backbones else []
    for name, model in models.items():
        with library_refusals(name):
            tables.append(f'{name}\n\n{step_table(model)}')
    return '\n\n'.join([*tables, CONVENTIONS])


def encoder_table(backbones: dict[str, dict[str, Any]], size: tuple[int, int]) -> str:
    """Cost of each encoder for one image.

    Args:
        backbones: configurations by the names of their fragments.
        size: (height, width) of the image.
    """
    rows = [
        '| encoder | parameters | with a 1000-class head | Table I | Table I counts | GFLOPs '
        f'({size[0]}x{size[1]}) | GMACs |',
        '|---|---|---|---|---|---|---|',
    ]
    for name, backbone in backbones.items():
        try:
            with library_refusals(name):
                cost = encoder_cost(backbone, size)
        except ImportError as error:  # the library of an encoder is missing
            rows.append(f'| {name} | {error} | | | | | |')
            continue
        stated = TABLE_1.get(name)
        columns = (
            name,
            f'{cost.parameters / 1e6:.2f}M',
            f'{cost.with_classifier / 1e6:.2f}M',
            f'{stated}M' if stated else '',
            f'{cost.matches(stated)} head' if stated else '',
            f'{cost.flops / 1e9:.2f}',
            f'{cost.flops / 2e9:.2f}',
        )
        rows.append(f'| {" | ".join(columns)} |')
    return '\n'.join(rows)


def step_table(model_cfg: dict[str, Any]) -> str:
    """Cost of a pretraining step per image, by part.

    Args:
        model_cfg: ``model`` of a pretraining configuration.
    """
    cost = step_cost(model_cfg)
    total = sum(cost.flops.values())
    rows = [
        '| part | trained parameters | GFLOPs per image | GMACs | share |',
        '|---|---|---|---|---|',
    ]
    parts = {**cost.flops, 'step': total}
    parameters = {**cost.parameters, 'step': sum(cost.parameters.values())}
    for part, flops in parts.items():
        rows.append(
            f'| {part} | {parameters[part] / 1e6:.2f}M | {flops / 1e9:.2f} | '
            f'{flops / 2e9:.2f} | {100 * flops / total:.0f} % |'
        )
    return '\n'.join(rows)
