"""The commands of several rows as a script of a shell, or as an array of Slurm jobs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from saip.experiments.reproduce.plan import Settings, Step

Job = tuple[str, Sequence[Step]]
"""A name and its commands, in their order."""


def shell_script(jobs: Sequence[Job], settings: Settings) -> str:
    """All commands one after another; called again, it goes on where it stopped."""
    return '\n'.join(['#!/usr/bin/env bash', *_begin(settings), *_once(jobs)]) + '\n'


def slurm_script(jobs: Sequence[Job], settings: Settings, gpus: int) -> str:
    """One job of an array for each pretraining and what follows from it.

    Args:
        jobs: of them, those that begin with the same commands run in one job.
        settings: of all commands.
        gpus: that a job asks for.
    """
    together: dict[str, list[Job]] = {}
    for name, steps in jobs:
        first = next((s.what for s in steps if s.kind == 'pretrain'), name)
        together.setdefault(first, []).append((name, steps))
    lines = ['#!/usr/bin/env bash', f'#SBATCH --array=0-{len(together) - 1}']
    lines += [f'#SBATCH --gres=gpu:{gpus}', '#SBATCH --requeue', '#SBATCH --nodes=1']
    lines += [*_begin(settings), 'case "$SLURM_ARRAY_TASK_ID" in']
    for number, group in enumerate(together.values()):
        lines += [f'{number})', *_once(group), ';;']
    return '\n'.join([*lines, 'esac']) + '\n'


def _begin(settings: Settings) -> Iterator[str]:
    yield 'set -euo pipefail'
    yield f'cd {shlex.quote(str(Path.cwd()))}'  # --out and SAIP_DATA are relative to it
    yield 'unset SAIP_INIT SAIP_SCHEDULE SAIP_BACKBONE SAIP_LAYER_SCALE'
    yield f'export SAIP_DATA={shlex.quote(settings.data)}'
    root = shlex.quote(str(settings.root.resolve()))
    yield f'export PYTHONPATH={root}"${{PYTHONPATH:+:$PYTHONPATH}}"'


def _once(jobs: Sequence[Job]) -> Iterator[str]:
    """The commands of jobs, those that they share once."""
    seen = set()
    for name, steps in jobs:
        yield f'# {name}'
        for step in steps:
            line = step.shell()
            if line not in seen:
                seen.add(line)
                yield line
