"""Which records are results of which row, and which are not, and why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.checkpoint import file_sha256
from saip.datasets.coco import load_json
from saip.engine.records import (
    TRAINED,
    ResultRecord,
    evaluation_digest,
    find_results,
    is_encoder,
)
from saip.experiments.finetune_job import environment
from saip.experiments.reproduce.plan import (
    Settings,
    digest_of,
    matching,
    probe_step,
    weights_file,
)
from saip.experiments.reproduce.tables import Cell, Row
from saip.experiments.reproduce.weights import Weights

_TEXT = 'model.text.'
"""Keys of the files that a text transformer begins with."""


@dataclass(frozen=True)
class Found:
    """What the records say of a cell.

    Attributes:
        value: percent; None where no test of this row is recorded.
        record: that it was read from.
        progress: of a training that is not finished, in words; '' otherwise.
        remarks: what a reader has to know of the value.
        passed_over: why records of the same task, encoder and weights are not this row's.
    """

    value: float | None = None
    record: ResultRecord | None = None
    progress: str = ''
    remarks: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass
class Records:
    """All records below some folders, read once.

    Attributes:
        by_config: by folder and name of their configuration, the newest last.
    """

    by_config: dict[str, list[ResultRecord]] = field(default_factory=dict)

    @classmethod
    def read(cls, folders: Iterable[Path]) -> Records:
        """Find the records below the folders; those that do not exist hold none."""
        found = cls()
        pairs = {path.resolve(): record for f in folders for path, record in find_results(f)}
        for record in sorted(pairs.values(), key=lambda record: record.date):
            found.by_config.setdefault(record.config, []).append(record)
        return found

    def of(self, row: Row, cell: Cell, settings: Settings) -> Found:
        """What they say of a cell.

        Raises:
            InputError: the row's configuration cannot be read.
        """
        if cell.task.protocol:
            return _probed(row, cell, settings)
        if not settings.task_config(cell).is_file():
            return Found(passed_over=(f'there is no configs/downstream/{cell.task.config}',))
        records = self.by_config.get(cell.task.config, [])
        records = [
            r for r in records if (r.trained or {}).get('encoder') == row.weights.encoder
        ]
        if not records:
            return Found()  # no configuration has to be read then
        if not settings.takes_options(cell, row.weights):
            return Found(passed_over=('has not the keys of --cfg-options',))
        beginning = _Beginning(row.weights, settings)
        wanted = _Wanted.of(row, cell, settings)
        passed, done, running = [], None, None
        for record in records:
            assert record.trained is not None
            if not beginning.is_of(record.trained['weights']):
                continue
            reason = beginning.differs(record.trained['weights']) or wanted.differs(record)
            if reason:
                passed.append(f'{record.phase} of {record.date[:10]}: {reason}')
            elif record.phase == 'test':
                done = record
            else:
                running = record
        return _found(cell, wanted, done, running, tuple(passed))


@dataclass(frozen=True)
class _Wanted:
    """What a record has to say to be a cell's."""

    training: str
    evaluations: Mapping[str, str]
    batch: int
    epochs: int
    share: float
    data: str
    processes: int
    tested: str
    text: str | None

    @classmethod
    def of(cls, row: Row, cell: Cell, settings: Settings) -> _Wanted:
        cfg = settings.read_task(cell, row.weights)
        config = settings.task_config(cell)
        with environment({'SAIP_DATA': settings.data}):
            evaluations = {p: evaluation_digest(cfg, p) for p in ('val', 'test')}
        return cls(
            digest_of(cfg, settings),
            evaluations,
            settings.whole_batch(config, cfg),
            cfg.train_cfg.max_epochs,
            settings.share_of(cell),
            str(Path(cfg.test_dataloader.dataset.data_root).resolve()),
            settings.processes(config),
            cell.task.tested,
            _sum_of_text(cell),
        )

    def differs(self, record: ResultRecord) -> str:
        """Why a record is another experiment's; '' if it is not."""
        trained = record.trained
        assert trained is not None
        if trained['schedule'] != self.share:
            return f'{trained["schedule"]:.0%} of the schedule, not {self.share:.0%}'
        if trained['configs'] != [self.training]:
            return 'trained with another configuration, other options or another version of it'
        if trained['batch'] != self.batch:
            return f'a batch of {trained["batch"]}, not {self.batch}'
        text = _text_of(trained)
        if text and self.text and text['sha256'] != self.text:
            return f'its text transformer began with another {text["file"]} than SAIP_TEXT_INIT'
        if record.data != self.data:
            return f'on {record.data}, not {self.data}'
        if record.evaluation != self.evaluations[record.phase]:
            return 'evaluated with another configuration or other options'
        if record.phase == 'val':
            return ''
        if self.tested == 'last' and record.epoch != self.epochs:
            return f'epoch {record.epoch} was tested, not the last, {self.epochs}'
        if self.tested == 'best' and not record.checkpoint.startswith('best_'):
            return f'{record.checkpoint} was tested, not the best of the validation'
        return ''


def _found(
    cell: Cell,
    wanted: _Wanted,
    done: ResultRecord | None,
    running: ResultRecord | None,
    passed: tuple[str, ...],
) -> Found:
    if done is None and running is None:
        return Found(passed_over=passed)
    record = done or running
    assert record is not None
    if cell.column.metric not in record.metrics:
        known = ', '.join(record.metrics)
        return Found(
            passed_over=(*passed, f'{record.phase}: has no {cell.column.metric}, but {known}')
        )
    value = cell.column.factor * record.metrics[cell.column.metric]
    if done is None:
        text = f'epoch {record.epoch} of {wanted.epochs}: {value:.1f} in validation'
        return Found(progress=text, record=record, passed_over=passed)
    return Found(value, record, '', tuple(_remarks(record, wanted)), passed)


def _remarks(record: ResultRecord, wanted: _Wanted) -> Iterator[str]:
    assert record.trained is not None
    if record.drawn:
        yield 'people drawn by code'
    if wanted.text is not None:
        text = _text_of(record.trained)
        yield f'text transformer from {text["file"] if text else "random weights"}'
    if wanted.share < 1:
        yield f'{wanted.share:.0%} of the schedule'
    if record.trained['processes'] != wanted.processes:
        yield f'{record.trained["processes"]} processes'


def _probed(row: Row, cell: Cell, settings: Settings) -> Found:
    """What an evaluation of a row's frozen features says, if it was of the weights there now."""
    step = probe_step(row, cell, settings)
    if not step.makes.is_file():
        return Found()
    found = load_json(step.makes)
    sums = [file_sha256(path) for path in matching(Path(weights_file(row.weights, settings)))]
    if not isinstance(found, dict) or found.get('sha256') not in sums:
        return Found(passed_over=(f'{step.makes}: of other weights than those there now',))
    scores = [value for row in found['rows'].values() for value in row.values()]
    if not scores:
        return Found(passed_over=(f'{step.makes}: the probes have diverged with all rates',))
    remarks = [f'{settings.schedule:.0%} of the schedule'] if settings.schedule < 1 else []
    return Found(float(max(scores)), None, '', tuple(remarks))


def _text_of(trained: Mapping[str, Any]) -> dict[str, Any] | None:
    """The file that a training's text transformer began with."""
    files = (file for file in trained['weights'] if file['key'].startswith(_TEXT))
    return next(files, None)


def _sum_of_text(cell: Cell) -> str | None:
    """SHA-256 of the file that SAIP_TEXT_INIT names, '' if of none; None for other tasks."""
    if not cell.task.variables:
        return None
    file = Path(os.environ.get('SAIP_TEXT_INIT') or 'none')
    return file_sha256(file) if file.is_file() else ''


class _Beginning:
    """Tells whether a training began with a row's weights."""

    def __init__(self, weights: Weights, settings: Settings) -> None:
        self.weights = weights
        if weights.published:
            file = Path(weights_file(weights, settings))
            self.sha256 = file_sha256(file) if file.is_file() else None
        elif weights.pretraining:
            self.pretraining, self.epochs, self.batch = _pretraining(weights, settings)
            self.file = weights_file(weights, settings)
            self.sums = [file_sha256(path) for path in matching(Path(self.file))]
            self.expert = _sum_of_expert(weights)

    def is_of(self, files: list[dict[str, Any]]) -> bool:
        """Whether a record names these weights and no others."""
        own = [file for file in files if is_encoder(file)]
        if any(not file['key'].startswith(_TEXT) for file in files if file not in own):
            return False
        if not self.weights.published and not self.weights.pretraining:
            return own == []
        if len(own) != 1:
            return False
        (file,) = own
        if self.weights.published:
            return self.sha256 is not None and file['sha256'] == self.sha256
        trained = file.get(TRAINED) or {}
        return (
            trained.get('configs') == [self.pretraining]
            and trained.get('batch') == self.batch
            and file['epoch'] == self.epochs
        )

    def differs(self, files: list[dict[str, Any]]) -> str:
        """Why weights of this row's kind are not those that lie there now; '' if they are."""
        if not self.weights.pretraining:
            return ''
        (file,) = (file for file in files if is_encoder(file))
        if self.sums and file['sha256'] not in self.sums:
            return f'began with another {file["file"]} than {self.file}'
        experts = (f for f in file[TRAINED]['weights'] if f['key'].startswith('model.expert.'))
        for expert in experts:
            if self.expert and expert['sha256'] != self.expert:
                return f'its expert was another {expert["file"]} than SAIP_EXPERT'
        return ''


def _sum_of_expert(weights: Weights) -> str:
    """SHA-256 of the pretrained expert of a row; '' without one or without its file."""
    name, usual, _ = weights.variable or ('', '', '')
    file = Path(os.environ.get(name) or usual or 'none')
    return file_sha256(file) if name == 'SAIP_EXPERT' and file.is_file() else ''


def _pretraining(weights: Weights, settings: Settings) -> tuple[str, int, int]:
    """Digest, epochs and batch of a row's pretraining."""
    cfg: Config = settings.read_pretraining(weights)
    config = settings.root / 'configs/pretrain' / weights.pretraining
    digest = digest_of(cfg, settings)
    return digest, cfg.train_cfg.max_epochs, settings.whole_batch(config, cfg)
