"""Which optimizer steps were skipped, by which terms and on which samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.runner import Runner

from saip.engine.atomic_backend import NO_ROOM
from saip.engine.sample_names import Ids, names_of
from saip.errors import StoppedError

LIMIT = 3
"""Skipped steps in a row after which a run stops."""

SHOWN_NAMES = 10
FILE = 'skipped_steps.jsonl'
"""All samples of every skipped step, in the work directory: a JSON object per step and process."""

TOTAL, IN_A_ROW = 'skipped_steps', 'skipped_steps_in_a_row'


class NonFiniteLossError(StoppedError):
    """Losses or gradients are NaN or infinite, so that training on would lead nowhere."""


@dataclass(frozen=True)
class MicroBatch:
    """What is known of a micro-batch.

    Attributes:
        iteration: its number in the run, from 1.
        terms: names of the losses that are not finite on any process.
        own_loss: a loss of this process is not finite.
        ids: its samples on this process.
    """

    iteration: int
    terms: tuple[str, ...]
    own_loss: bool
    ids: Ids


@dataclass(frozen=True)
class SkippedStep:
    """An optimizer step that was skipped, and its micro-batches."""

    batches: tuple[MicroBatch, ...]

    @property
    def when(self) -> str:
        """Its iterations."""
        first, last = self.batches[0].iteration, self.batches[-1].iteration
        return f'iteration {last}' if first == last else f'iterations {first} to {last}'

    @property
    def terms(self) -> list[str]:
        """What was not finite: losses, or gradients alone."""
        found = dict.fromkeys(term for batch in self.batches for term in batch.terms)
        # Their sum only where no term is to blame.
        return [term for term in found if term != 'loss'] or list(found) or ['gradients']

    def own_ids(self) -> tuple[bool, Ids]:
        """Samples of this process: of micro-batches with a bad loss, else of all."""
        bad = [batch for batch in self.batches if batch.own_loss]
        return bool(bad), [i for batch in (bad or self.batches) for i in batch.ids]


class SkippedSteps:
    """Counts skipped steps, names them in the log and stops the run after three in a row.

    All processes skip the same steps, so all of them stop at the same reading of the log. The
    counts are in the message hub and with it in checkpoints.
    """

    def __init__(self) -> None:
        self._window: list[MicroBatch] = []
        self._new: list[SkippedStep | None] = []
        self._row: list[str] = []

    def add(self, batch: MicroBatch) -> None:
        """Add a micro-batch to the present step."""
        self._window.append(batch)

    def close(self, skipped: bool) -> None:
        """End the present step."""
        self._new.append(SkippedStep(tuple(self._window)) if skipped else None)
        self._window.clear()

    def report(self, runner: Runner) -> None:
        """Name the steps that were skipped since the last call.

        Raises:
            NonFiniteLossError: there were three in a row.
        """
        hub = runner.message_hub
        new, self._new = self._new, []
        if not new:
            return
        texts = iter(_name([step for step in new if step is not None], runner))
        in_a_row = hub.get_info(IN_A_ROW, 0)  # of a run that is resumed, too
        for step in new:
            if step is None:
                in_a_row = 0
                self._row.clear()
                continue
            in_a_row += 1
            self._row.append(next(texts))
            hub.update_info(TOTAL, hub.get_info(TOTAL, 0) + 1)
            if in_a_row >= LIMIT:
                raise NonFiniteLossError(
                    f'{in_a_row} optimizer steps in a row were skipped, at '
                    f'{"; ".join(self._row)}. All files: {Path(runner.work_dir, FILE)}. Resume '
                    'from the last checkpoint with a lower learning rate or with gradient '
                    'clipping, or without these files'
                )
        hub.update_info(IN_A_ROW, in_a_row)
        total = hub.get_info(TOTAL, 0)
        if total:
            hub.update_scalar(f'train/{TOTAL}', total)


def _name(steps: list[SkippedStep], runner: Runner) -> list[str]:
    """Describe skipped steps, in the log and in the file; all processes have the same ones."""
    if not steps:
        return []
    dataset = runner.train_dataloader.dataset
    own = []
    for step in steps:
        bad, ids = step.own_ids()
        batches = [[batch.iteration, batch.ids] for batch in step.batches]
        own.append((bad, names_of(dataset, ids), batches))
    every = dist.all_gather_object(own)
    texts = []
    for number, step in enumerate(steps):
        ranks = {rank: rows[number] for rank, rows in enumerate(every)}
        guilty = {rank: names for rank, (bad, names, _) in ranks.items() if bad}
        names = guilty or {rank: names for rank, (_, names, _) in ranks.items()}
        text = f'{step.when} ({", ".join(step.terms)} not finite; {_shown(names)})'
        runner.logger.warning(f'optimizer step skipped at {text}')
        if dist.is_main_process():
            path = Path(runner.work_dir, FILE)
            try:
                _write(path, step, ranks, _replayed(runner))
            except OSError as error:  # the weights are as they were: no reason to end a run
                if error.errno not in NO_ROOM:
                    raise
                runner.logger.error(f'{path}: {error}; the step is missing there')
        texts.append(text)
    return texts


def _shown(names: dict[int, list[str]]) -> str:
    """A few of the names, with the process where there are several."""
    flat = [name for each in names.values() for name in each]
    if not flat:
        return 'the batch does not say which samples these are'
    more = len(flat) - SHOWN_NAMES
    where = f' (process {", ".join(map(str, names))})' if dist.get_world_size() > 1 else ''
    others = f' and {more} others, see {FILE}' if more > 0 else ''
    return f'samples{where}: {", ".join(flat[:SHOWN_NAMES])}{others}'


def _replayed(runner: Runner) -> dict[str, int]:
    """What the views of a step depend on beside its samples."""
    return {
        'processes': dist.get_world_size(),
        'steps_per_epoch': len(runner.train_dataloader),
        'max_iters': runner.max_iters,
        'accumulated': runner.optim_wrapper._accumulative_counts,
    }


def _write(
    path: Path,
    step: SkippedStep,
    ranks: dict[int, tuple[bool, list[str], list[Any]]],
    replayed: dict[str, int],
) -> None:
    """Append a line per process."""
    lines: list[dict[str, Any]] = [
        {
            'iterations': [batch.iteration for batch in step.batches],
            'not_finite': step.terms,
            'rank': rank,
            'own_loss': own_loss,
            'samples': names,
            'micro_batches': batches,
            **replayed,
        }
        for rank, (own_loss, names, batches) in ranks.items()
    ]
    with path.open('a', encoding='utf-8') as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + '\n' for line in lines)
