"""Run the commands of a row: what is finished is passed over, what was interrupted goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from saip.checkpoint import file_sha256, load_checkpoint_file
from saip.engine.records import TRAINED, is_encoder
from saip.errors import InputError, MissingFileError
from saip.experiments.reproduce.needs import Need
from saip.experiments.reproduce.plan import Settings, Step, is_pattern, matching
from saip.experiments.training_process import run_training, say

_OUTSIDE = ('SAIP_INIT', 'SAIP_SCHEDULE', 'SAIP_BACKBONE', 'SAIP_LAYER_SCALE')
"""Variables that a command sets itself, and that must not come from around it."""


def run_steps(steps: Sequence[Step], needs: Sequence[Need], settings: Settings) -> None:
    """Run commands in their order, each in a process of its own.

    Args:
        steps: of a row.
        needs: of the row.
        settings: of all commands.

    Raises:
        MissingFileError: something is not there; the message says what makes it.
        InputError: a work directory holds a training of another configuration.
        StoppedError: a command stopped with an error.
    """
    require(needs)
    for number, step in enumerate(steps):
        begin = f'[{number + 1}/{len(steps)}] {step.what}'
        if step.digest:
            _check_work_dir(step)
        if found := matching(step.makes):
            say(f'{begin}: there already, {found[-1]}')
            continue
        say(f'{begin}, output in {step.work_dir}')
        variables = {'SAIP_DATA': settings.data, **_resolved(step)}
        with _alone():
            run_training(_command(step), step.work_dir, variables, step.what)
        if not matching(step.makes):
            raise InputError(f'{step.what} ended without an error, but made no {step.makes}')


def require(needs: Sequence[Need]) -> None:
    """Refuse to begin without something that a row needs.

    Raises:
        MissingFileError: something is not there; the message says what makes it.
    """
    missing = [need for need in needs if not need.there]
    if missing:
        raise MissingFileError(
            '; '.join(f'{need.what} is missing. It is made by: {need.how}' for need in missing)
        )


def _check_work_dir(step: Step) -> None:
    """Refuse to go on with a training of another configuration or from other weights."""
    pointer = step.work_dir / 'last_checkpoint'
    if not pointer.is_file():
        return
    last = step.work_dir / pointer.read_text(encoding='utf-8').strip()
    if not last.is_file():
        return
    trained = (load_checkpoint_file(last).get('meta') or {}).get(TRAINED) or {}
    if trained.get('configs') != [step.digest]:
        raise InputError(
            f'{step.work_dir} holds a training of another configuration: it, a file that it '
            'inherits, or a variable that one of them reads has been changed since. Undo that, '
            'remove the folder, or name another --out'
        )
    if 'SAIP_INIT' not in step.variables:
        return
    file = _resolved(step)['SAIP_INIT']
    begun = [entry['sha256'] for entry in trained['weights'] if is_encoder(entry)]
    if begun != ([] if file == 'none' else [file_sha256(file)]):
        raise InputError(
            f'{step.work_dir} holds a training that did not begin with {file} as it is now. Put '
            'the former file back, remove the folder, or name another --out'
        )


def _command(step: Step) -> list[str]:
    words = [_one_file(word) if is_pattern(word) else word for word in step.command]
    return [sys.executable, *words[1:]] if words[0] == 'python' else words


def _resolved(step: Step) -> dict[str, str]:
    return {
        key: str(Path(_one_file(value)).resolve()) if is_pattern(value) else value
        for key, value in step.variables.items()
    }


def _one_file(pattern: str) -> str:
    """The file of a pattern, which a name may precede; of several the one written last."""
    name, equals, place = pattern.rpartition('=')
    found = matching(Path(place))
    if not found:
        raise MissingFileError(f'{place}: there is no such file')
    return f'{name}{equals}{max(found, key=lambda path: path.stat().st_mtime)}'


@contextmanager
def _alone() -> Iterator[None]:
    """Take the variables of a command out of the environment for a while."""
    former = {name: os.environ.pop(name) for name in _OUTSIDE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(former)
