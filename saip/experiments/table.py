"""The result of a frozen evaluation as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(result: Mapping[str, Any]) -> str:
    """Write what ``saip.experiments.frozen_eval.evaluate_frozen`` returned, a line per network.

    Above them stand the feature that was read and λ where an encoder was trained with several.
    """
    retrieval = result['protocol'] == 'retrieval'
    scores = ('Rank-1', 'Rank-5', 'mAP') if retrieval else ('recall@1',)
    head = ['features', *scores, 'std (healthy)', 'eff. rank', 'mean cos']
    lines = [head]
    for name, row in result['rows'].items():
        lines.append(
            [
                name,
                *(f'{row[score]:.1f}' for score in scores),
                f'{row["feature_std"]:.3f} ({row["feature_std_healthy"]:.3f})',
                f'{row["effective_rank"]:.1f} of {row["dims"]}',
                f'{row["mean_cosine"]:.3f}',
            ]
        )
    first_row = next(iter(result['rows'].values()))
    if retrieval:
        title = (
            f'retrieval across cameras, percent: {first_row["queries"]} queries '
            f'({first_row["unmatched_queries"]} without a match left out), '
            f'{result["images"]} images'
        )
    else:
        title = (
            f'two-view recall at 1, percent: {result["images"]} images, '
            f'chance {result["chance"]:.2f}'
        )
    condition = f', λ = {result["condition"]:g}' if 'condition' in result else ''
    return f'{title}; feature {result["feature"]}{condition}\n{align(lines)}'


def format_labeled(result: Mapping[str, Any]) -> str:
    """Write what ``saip.experiments.labeled_eval.evaluate_labeled`` returned."""
    columns = list(dict.fromkeys(name for row in result['rows'].values() for name in row))
    lines = [['features', *columns]]
    for name, row in result['rows'].items():
        lines.append([name, *(f'{row[c]:.1f}' if c in row else '-' for c in columns)])
    about = f'{result["tested"]} images to test on; feature {result["feature"]}'
    if 'classes' in result:
        labels = 'attributes' if result['metric'] == 'mA' else 'classes'
        learned = f'{result["classes"]} {labels}, {result["images"]} images to learn from'
        about = f'{learned}, {about}'
    condition = f', λ = {result["condition"]:g}' if 'condition' in result else ''
    metric = result.get('metric')
    in_columns = metric is None or any(metric in column for column in columns)
    measure = '' if in_columns else f'{metric} in '
    return f'{result["protocol"]}, {measure}percent: {about}{condition}\n{align(lines)}'


def align(lines: Sequence[Sequence[str]]) -> str:
    """Write cells in columns, the first to the left and the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
