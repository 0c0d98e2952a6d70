"""From a checkpoint to its programs."""

from __future__ import annotations

import os

from saip.checkpoint import CheckpointError, Which, encoder_of, load_checkpoint_file
from saip.checkpoint.finite import broken_tensors
from saip.deploy.encoder import encoder_program
from saip.deploy.program import Program
from saip.deploy.tasks.finetuned import task_config
from saip.deploy.tasks.kinds import task_programs
from saip.structures import Grid


def read_programs(
    path: str | os.PathLike[str], which: Which | None = None, size: Grid | None = None
) -> list[Program]:
    """Make the programs of a checkpoint.

    Args:
        path: a pretraining checkpoint, an exported backbone, or a checkpoint of a task.
        which: of a pretraining the trained encoder or its average; None takes what an exported
            file holds, and the student of a training checkpoint.
        size: (height, width) of the images; None takes that of the training.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: it cannot be read, or its weights are not finite.
        InputError: its network cannot be exported at this size.
    """
    checkpoint = load_checkpoint_file(path)
    meta = checkpoint.get('meta') or {}
    broken = broken_tensors({'state_dict': checkpoint.get('state_dict'), 'meta': meta})
    if broken:
        name = broken[0].removeprefix('state_dict.')
        raise CheckpointError(
            f'{path}: {len(broken)} tensors hold values that are not finite, such as {name}'
        )
    stored: Which = which or meta.get('which', 'student')
    try:
        config = task_config(meta)
        if config is not None:
            return task_programs(checkpoint, config, size)
        encoder, about = encoder_of(checkpoint, stored)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    return [encoder_program(encoder, about, size)]
