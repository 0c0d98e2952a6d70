"""Downstream results of encoders, read from work directories, with what the encoders cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.analysis.flops import encoder_cost
from saip.errors import InputError, MissingFileError, library_refusals
from saip.experiments.backbone_configs import fitting_backbone_configs
from saip.models.backbones import BaseEncoder
from saip.registry import MODELS
from saip.visualization.curves import last_validation_in, metrics_in

FROM_SCRATCH = 'from scratch'


@dataclass(frozen=True)
class EncoderResult:
    """A downstream result and the cost of the encoder that it was reached with.

    Attributes:
        series: what it belongs to, such as the method that pretrained the encoder.
        encoder: name of its fragment, or its type.
        metric: name of what was measured.
        value: as it was logged.
        parameters: of the encoder.
        gflops: of one image, a multiply-add counted as two.
        size: (height, width) of that image.
        source: the log that it was read from.
        trained_size: (height, width) of the images that the result was reached with, as far as
            its configuration says it of the encoder or the preprocessor; None where it does not.
    """

    series: str
    encoder: str
    metric: str
    value: float
    parameters: int
    gflops: float
    size: tuple[int, int]
    source: str
    trained_size: tuple[int, int] | None = None


def read_result(
    work_dir: Path, metric: str, fragments: Path, size: tuple[int, int], series: str = ''
) -> EncoderResult:
    """Read what the last test or validation below a work directory reported.

    Args:
        work_dir: of a fine-tuning or a test; mmengine's logs and configuration lie in it.
        metric: name as in the log, such as ``coco/AP``.
        fragments: folder with a file for each encoder, from which they get their names.
        size: (height, width) of the image that the encoder's operations are counted for.
        series: by default the name of the file of weights that the encoder began with.

    Raises:
        FileNotFoundError: there is no log.
        InputError: the log has no such metric, or its configuration no encoder of this project.
    """
    log, metrics = _last_metrics(work_dir)
    if metric not in metrics:
        raise InputError(f'{log}: no {metric}; there is {", ".join(metrics) or "no metric"}')
    folder = log.parent if log.parent.name == 'vis_data' else log.parent / 'vis_data'
    file = folder / 'config.py'
    if not file.is_file():
        raise MissingFileError(f'{file}: missing; it says which encoder {log} is about')
    with library_refusals(str(file)):
        cfg = Config.fromfile(file, import_custom_modules=False)
        backbone = _find_encoder(cfg.get('model', {}).get('backbone'))
    if backbone is None:
        raise InputError(f'{file}: model.backbone holds no encoder of this project')
    weights = (backbone.pop('init_cfg', None) or {}).get('checkpoint')
    with library_refusals(str(file)):
        cost = encoder_cost(backbone, size)
    return EncoderResult(
        series=series or (FROM_SCRATCH if weights is None else Path(weights).stem),
        encoder=_name(backbone, fragments),
        metric=metric,
        value=metrics[metric],
        parameters=cost.parameters,
        gflops=cost.flops / 1e9,
        size=size,
        source=str(log),
        trained_size=_trained_size(cfg.model, backbone),
    )


def write_results(results: list[EncoderResult]) -> str:
    """Results as JSON, which :func:`read_results` reads."""
    return f'{json.dumps([asdict(result) for result in results], indent=1)}\n'


def read_results(file: Path) -> list[EncoderResult]:
    """Read what :func:`write_results` wrote.

    Raises:
        InputError: the file holds something else.
    """
    try:
        rows = json.loads(file.read_text(encoding='utf-8'))
        return [_from_row(row) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f'{file}: no list of results of encoders') from error


def _from_row(row: dict[str, Any]) -> EncoderResult:
    """A result of a file; those of earlier versions have no ``trained_size``."""
    sizes = {'size': tuple(row['size'])}
    if row.get('trained_size') is not None:
        sizes['trained_size'] = tuple(row['trained_size'])
    return EncoderResult(**{**row, **sizes})


def _trained_size(model: Mapping[str, Any], backbone: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) of a run's images; None where its configuration does not say it."""
    size = backbone.get('img_size') or (model.get('data_preprocessor') or {}).get('size')
    if isinstance(size, int):
        return size, size
    return None if size is None else (int(size[0]), int(size[1]))


def _last_metrics(work_dir: Path) -> tuple[Path, dict[str, float]]:
    """The newest log with a test or a validation; a test counts before the run's validations."""
    folders = sorted((f for f in work_dir.glob('*/') if f.is_dir()), reverse=True)
    for folder in folders:
        tested, trained = folder / f'{folder.name}.json', folder / 'vis_data/scalars.json'
        if tested.is_file():
            return tested, dict(metrics_in(json.loads(tested.read_text(encoding='utf-8'))))
        found = last_validation_in(trained) if trained.is_file() else None
        if found is not None:
            return trained, found[1]
    raise MissingFileError(
        f'{work_dir}: neither TIME/TIME.json of a test nor a validation in '
        'TIME/vis_data/scalars.json'
    )


def _find_encoder(node: Any) -> dict[str, Any] | None:
    """The encoder's configuration, which may be wrapped, as in a feature pyramid."""
    if not isinstance(node, Mapping):
        return None
    kind = node.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) and kind.startswith('saip.') else None
    if isinstance(cls, type) and issubclass(cls, BaseEncoder):
        return dict(node)
    found = (_find_encoder(value) for value in node.values())
    return next((encoder for encoder in found if encoder is not None), None)


def _name(backbone: dict[str, Any], fragments: Path) -> str:
    """The encoder's only fitting fragment, else its type."""
    names = fitting_backbone_configs(MODELS.build(backbone).architecture(), fragments)
    return names[0] if len(names) == 1 else str(backbone['type'])
