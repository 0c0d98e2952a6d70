"""What is kept of a run, so that it is not done again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saip.datasets.files import write_atomic
from saip.errors import InputError

RECORD = 'run.json'
_TRAINING = {
    'images': 'whose length (--images, --time, --batch-size) in images is ',
    'device': 'whose --device is ',
    'weights_sha256': 'that begins with weights (--init) whose SHA-256 is ',
}
"""Entries of :attr:`RunRecord.training` in words."""


@dataclass
class RunRecord:
    """One training and its evaluation.

    Attributes:
        training: plain values that say what was trained.
        seconds: that the training took, interruptions left out.
        evaluation: plain values that say how it was evaluated; None before that.
        metrics: by name.
        sums: what its figures are made of, see
            :class:`saip.experiments.compare.evaluation.Evaluated`.
    """

    training: dict[str, Any]
    seconds: float = 0.0
    evaluation: dict[str, Any] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    sums: dict[str, list[list[float]]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the record; a reader never sees half of it."""
        write_atomic(
            folder / RECORD, f'{json.dumps(asdict(self), separators=(",", ":"))}\n'.encode()
        )


def read_record(folder: Path) -> RunRecord | None:
    """Read the record of a run; None where there is none.

    Raises:
        InputError: the file holds something else.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return RunRecord(**json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as error:
        raise InputError(f'{path}: no record of a run; remove it') from error


def open_record(folder: Path, training: Mapping[str, Any]) -> RunRecord:
    """Go on with a run, or begin one; the record is there before the first step is.

    Raises:
        InputError: the folder holds a run of other settings.
    """
    record = read_record(folder)
    if record is None:
        record = RunRecord(dict(training))
        record.write(folder)
        return record
    for key, value in training.items():
        former = record.training.get(key)
        if former == value:
            continue
        if key == 'config_sha256':
            raise InputError(
                f'{folder} holds a run of another configuration: an option, a preset or a file '
                'that it inherits has been changed since; undo that, or choose another --out'
            )
        said = _TRAINING.get(key, f'with {key}=')
        raise InputError(
            f'{folder} holds a run {said}{former}, and now it is {value}; choose another --out'
        )
    return record
