"""The rows of a comparison: means, spreads, intervals, ties; as plain values and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saip.evaluation.bootstrap import bootstrap_interval, ratios
from saip.evaluation.dense import mean_iou
from saip.experiments.compare.evaluation import (
    MAP,
    RANK,
    RECALL,
    SHARPNESS,
    SPREAD,
    Evaluated,
)
from saip.experiments.dense_eval import MIOU, PCK

SCORES = (RANK, MAP, RECALL, MIOU, PCK)
"""Figures in percent, more is better."""
STATISTICS = (SHARPNESS, SPREAD)


def _overlap(totals: np.ndarray) -> np.ndarray:
    return mean_iou(totals.reshape(*totals.shape[:-1], 3, -1))[..., None]


_FIGURES: dict[str, tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]] = {
    MAP: ((RANK, MAP), ratios),
    RECALL: ((RECALL,), ratios),
    MIOU: ((MIOU,), _overlap),
    PCK: ((PCK,), ratios),
}
"""By their name in :class:`Evaluated`, the figures that follow from sums, and how."""


@dataclass(frozen=True)
class RowResults:
    """All runs of a row.

    Attributes:
        name: of the row.
        kind: ``trained``, ``given`` (weights as they are) or ``baseline``.
        images: that each training has seen.
        seconds: that each training took.
        runs: one for each seed.
    """

    name: str
    kind: str
    images: int
    seconds: Sequence[float]
    runs: Sequence[Evaluated]


def summarize(rows: Sequence[RowResults]) -> list[dict[str, Any]]:
    """Join the runs of each row.

    An interval holds 95 % of the figures of resampled identities (of the retrieval) or images, of
    the mean of a row's runs: the networks are as they are, other people are asked for. Of the rows
    that are no baselines, one is the best of a figure, and another ties with it where its mean lies
    inside of the interval of the best; baselines are what all have to beat.

    Returns:
        Per row ``row``, ``kind``, ``images``, ``minutes`` (mean), ``seeds`` and ``metrics``: by
        name ``mean``, ``spread`` (standard deviation over seeds; None of one), ``values``; of
        the scores ``interval``, ``best`` and ``tie``.
    """
    found = [_summarize_row(row) for row in rows]
    for name in SCORES:
        having = [
            row['metrics'][name]
            for row in found
            if name in row['metrics'] and row['kind'] != 'baseline'
        ]
        if not having:
            continue
        best = max(having, key=lambda metric: metric['mean'])
        for metric in having:
            metric['best'] = metric is best
            metric['tie'] = metric is not best and metric['mean'] >= best['interval'][0]
    return found


def _summarize_row(row: RowResults) -> dict[str, Any]:
    metrics: dict[str, dict[str, Any]] = {}
    for name in (*SCORES, *STATISTICS):
        values = [run.metrics[name] for run in row.runs if name in run.metrics]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else None
            metrics[name] = {
                'mean': statistics.fmean(values),
                'spread': spread,
                'values': values,
            }
    for source, (names, figures) in _FIGURES.items():
        runs = [run.sums[source] for run in row.runs if source in run.sums]
        if runs:
            intervals = 100 * bootstrap_interval(runs, figures)
            for name, interval in zip(names, intervals.tolist(), strict=True):
                metrics[name]['interval'] = interval
    return {
        'row': row.name,
        'kind': row.kind,
        'images': row.images,
        'minutes': statistics.fmean(row.seconds) / 60 if row.seconds else 0.0,
        'seeds': len(row.runs),
        'metrics': metrics,
    }


def write_markdown(
    summary: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> str:
    """A page with the table, how to read it, and on what it was measured."""
    head = ['row', 'images', 'minutes', *SCORES, *STATISTICS]
    lines = [_cells(head), _cells(['---', *['---:'] * (len(head) - 1)])]
    lines += [_cells(_row_cells(row)) for row in summary]
    seeds = max(row['seeds'] for row in summary)
    spread = f'mean of {seeds} seeds ± their standard deviation' if seeds > 1 else 'one seed'
    notes = (
        f'{spread}; in brackets the 95 % interval by bootstrap over identities (retrieval) or '
        'images. **Bold**: the best apart from baselines; `=`: inside of the interval of the best, '
        f'a tie. Scores in percent; frozen features of the {settings["which"]}, retrieval by its '
        f'{settings["feature"]}.'
    )
    facts = [f'- {key}: {value}' for key, value in {**settings, **environment}.items()]
    return '\n'.join(
        ['# Comparison', '', *lines, '', notes[0].upper() + notes[1:], '', *facts, '']
    )


def _row_cells(row: Mapping[str, Any]) -> list[str]:
    trained = row['kind'] == 'trained'
    images = f'{row["images"]:,}' if trained else '-'
    minutes = f'{row["minutes"]:.1f}' if trained else '-'
    scores = [_score_cell(row['metrics'].get(name)) for name in SCORES]
    others = [
        f'{row["metrics"][name]["mean"]:.2f}' if name in row['metrics'] else '-'
        for name in STATISTICS
    ]
    return [row['row'].replace('|', '\\|'), images, minutes, *scores, *others]


def _score_cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return '-'
    text = f'{metric["mean"]:.1f}'
    if metric.get('best'):
        text = f'**{text}**'
    elif metric.get('tie'):
        text = f'{text} ='
    if metric['spread'] is not None:
        text += f' ± {metric["spread"]:.1f}'
    if 'interval' in metric:
        low, high = metric['interval']
        text += f' [{low:.1f}, {high:.1f}]'
    return text


def _cells(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
