"""A metric over the epochs of a pretraining: points, record, table and figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from saip.datasets.files import write_atomic
from saip.errors import InputError
from saip.experiments.compared_encoders import (
    RANDOM,
    evaluate_compared_encoders,
    find_compared_encoders,
    join_compared_encoders,
)
from saip.experiments.exported_backbones import ExportedBackbone, find_exported_backbones
from saip.experiments.table import align, format_table
from saip.models.selfsup.predicting import Feature
from saip.visualization.curves import draw_curves

FOLDER = 'epoch_curve'
DEFAULT_METRICS = {'retrieval': 'mAP', 'two-view': 'recall@1'}


@dataclass(frozen=True)
class Point:
    """What one exported backbone reached.

    Attributes:
        epoch: of the pretraining.
        file: name of the exported file.
        tensors_sha256: of its weights.
        metrics: all that was reported, in its order.
    """

    epoch: int
    file: str
    tensors_sha256: str
    metrics: dict[str, float]

    @classmethod
    def of(cls, export: ExportedBackbone, metrics: Mapping[str, float]) -> Point:
        """Record the metrics of an exported backbone."""
        return cls(export.epoch, export.path.name, export.digest, dict(metrics))


@dataclass
class EpochCurve:
    """A curve, and the file that keeps it.

    Attributes:
        path: the JSON file; the figure lies beside it.
        settings: plain values that say how the points were made.
        points: by epoch.
        references: metrics of what needs no pretraining, by name.
    """

    path: Path
    settings: dict[str, Any]
    points: list[Point] = field(default_factory=list)
    references: dict[str, dict[str, float]] = field(default_factory=dict)

    def write(self) -> None:
        """Write the record; a reader never sees half of it."""
        record = {key: value for key, value in asdict(self).items() if key != 'path'}
        write_atomic(self.path, f'{json.dumps(record, indent=2)}\n'.encode())

    def choose_metric(self, wanted: str | None, usual: str | None = None) -> str:
        """Name the metric to draw: the wanted one, the usual one, or the first.

        Raises:
            ValueError: a point has no such metric.
        """
        chosen = wanted or usual or next(iter(self.points[0].metrics))
        for point in self.points:
            if chosen not in point.metrics:
                raise InputError(
                    f'metric {chosen}: not reported for epoch {point.epoch}; choose one of '
                    f'{", ".join(point.metrics)} with --metric'
                )
        return chosen

    def draw(self, metric: str, from_zero: bool) -> Path:
        """Draw the metric over the epochs, and return the PNG file."""
        curve = [(float(point.epoch), point.metrics[metric]) for point in self.points]
        lines = {n: row[metric] for n, row in self.references.items() if n == RANDOM}
        image = draw_curves(
            {self.path.stem: curve}, metric, 'epoch of pretraining', lines, from_zero
        )
        buffer = BytesIO()
        image.save(buffer, 'PNG')
        figure = self.path.with_suffix('.png')
        write_atomic(figure, buffer.getvalue())
        return figure

    def table(self, metric: str) -> str:
        """Write the metric of every epoch as lines for people."""
        rows = [[str(p.epoch), f'{p.metrics[metric]:.4g}', p.file] for p in self.points]
        return align([['epoch', metric, 'backbone'], *rows])


def retrieval_curve(
    run: str | Path,
    data: str,
    metric: str | None = None,
    out: str | Path | None = None,
    holdout: float | int = 0,
    feature: Feature | None = None,
    **settings: Any,
) -> tuple[str, Path]:
    """Evaluate the frozen features of every exported backbone, in one pass over the images.

    Each gets the numbers that ``tools/eval_frozen.py`` gives it alone. The record and the
    figure are ``<protocol>_<name of the data>.json`` and ``.png``.

    Args:
        run: the work directory of a pretraining, or its folder ``backbones``.
        data: a folder in Market-1501 layout, or any folder of images.
        metric: what is drawn; by default mAP, of unlabeled images recall@1.
        out: folder of the results, by default ``RUN/epoch_curve``.
        holdout: see :func:`saip.experiments.compared_encoders.open_images`.
        feature: what is read of the backbones; None takes the one of their training.
        settings: of :func:`saip.experiments.frozen_eval.evaluate_frozen`.

    Returns:
        A table, and the figure's file.

    Raises:
        FileNotFoundError: there is no run, no exported backbone, or no data.
        ValueError: a file or the data cannot be used, there is no such metric, or the files name
            different features.
    """
    work_dir, exports = find_exported_backbones(run)
    rows = {f'epoch {export.epoch}': export for export in exports}
    found = {n: find_compared_encoders(str(e.path)) for n, e in rows.items()}
    features = {n: one.feature for n, one in found.items()}
    if feature is None and len(set(features.values())) > 1:
        listed = ', '.join(f'{name} {read}' for name, read in features.items())
        raise InputError(
            f'{run}: its backbones are read by different features ({listed}), which do not '
            'compare; choose one with --feature'
        )
    compared = join_compared_encoders(found)
    result = evaluate_compared_encoders(compared, data, holdout, feature, **settings)
    protocol = result['protocol']
    name = f'{protocol}_{Path(data).expanduser().resolve().name}.json'
    curve = EpochCurve(
        path=Path(out or work_dir / FOLDER, name),
        settings={
            'data': str(data),
            **{key: result[key] for key in ('protocol', 'feature', 'images')},
        },
        points=[Point.of(export, result['rows'][row]) for row, export in rows.items()],
        references={n: row for n, row in result['rows'].items() if n not in rows},
    )
    curve.write()
    chosen = curve.choose_metric(metric, DEFAULT_METRICS[protocol])
    return format_table(result), curve.draw(chosen, from_zero=True)
