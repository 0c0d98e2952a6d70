"""Many inputs through a program or a file, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from saip.deploy.program import Program

BATCHES = (1, 2, 5)
"""Sizes of the batches, in turn, in which a file with a free batch is compared."""

FEATURES = {'encoder': 'image_token', 'reid': 'feature'}
"""Output of a task by which persons are retrieved."""

Outputs: TypeAlias = dict[str, np.ndarray]
Run: TypeAlias = Callable[[np.ndarray], Outputs]
"""Runs one batch; its outputs by name."""


def person_features(run: Run, meta: Mapping[str, Any], images: np.ndarray) -> np.ndarray:
    """Features (N, D) by which persons are retrieved, of a file with this description.

    The other outputs, which may be large maps, are dropped batch by batch.
    """

    def features(rows: np.ndarray) -> Outputs:
        outputs = run(rows)
        if meta.get('feature') == 'patch_mean':
            return {'feature': outputs['patch_tokens'].mean(1)}
        return {'feature': outputs[FEATURES[meta['task']]]}

    return run_all(features, images, meta['input']['shape'][0])['feature']


def run_program(program: Program, inputs: np.ndarray) -> Outputs:
    """Run (N, ...) inputs through a program; the outputs of all, by name."""
    return run_all(program.run, inputs, 1 if program.fixed_batch else None)


def run_all(run: Run, inputs: np.ndarray, batch: int | None) -> Outputs:
    """Run (N, ...) inputs batch by batch; the outputs of all, by name.

    Args:
        run: of a program or a file.
        inputs: of all images.
        batch: its rows, the last batch is filled up with its last row; None for several sizes.
    """
    parts: list[Outputs] = []
    for rows in _batches(inputs, batch):
        filled = rows
        if batch is not None and len(rows) < batch:
            filled = np.concatenate([rows, np.repeat(rows[-1:], batch - len(rows), 0)])
        parts.append({name: x[: len(rows)] for name, x in run(filled).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batches(inputs: np.ndarray, batch: int | None) -> Iterator[np.ndarray]:
    start, turn = 0, 0
    while start < len(inputs):
        length = BATCHES[turn % len(BATCHES)] if batch is None else batch
        yield inputs[start : start + length]
        start, turn = start + length, turn + 1
