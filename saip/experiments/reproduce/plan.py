"""From a row of a table to the commands that make its figures, in their order."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from saip.engine.keys.errors import ConfigKeyError
from saip.engine.launch import read_config
from saip.engine.options import parse_options
from saip.engine.records import training_digest
from saip.errors import InputError
from saip.experiments.finetune_job import environment
from saip.experiments.reproduce.tables import Cell, Row
from saip.experiments.reproduce.tasks import stated_gpus
from saip.experiments.reproduce.weights import Weights

BATCH = 'train_dataloader.batch_size'
PROBE_EPOCHS, PROBE_BATCH = 90, 1024
"""Of linear and attentive probing; the learning rates follow the batch."""


@dataclass(frozen=True)
class Settings:
    """What all commands have in common.

    Attributes:
        root: of the repository, with ``configs`` and ``tools``.
        out: folder of the work directories.
        data: of the data sets, SAIP_DATA.
        schedule: share of every schedule; less than 1 is for trials.
        gpus: processes; None as many as each configuration is for. The batch of all stays.
        options: ``KEY=VALUE`` of all fine-tunings and their tests.
        pretrain_options: the same of all pretrainings.
    """

    root: Path
    out: Path
    data: str = 'data'
    schedule: float = 1.0
    gpus: int | None = None
    options: tuple[str, ...] = ()
    pretrain_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.schedule <= 1:
            raise InputError(f'--schedule {self.schedule:g}: above 0 and at most 1')
        if self.gpus is not None and self.gpus < 1:
            raise InputError(f'--gpus {self.gpus}: at least 1')

    @property
    def folder(self) -> Path:
        """Fine-tunings of these settings; those of others do not meet them there."""
        return self._folder((*self.options, *self.pretrain_options))

    @property
    def pretraining_folder(self) -> Path:
        """The same of pretrainings, which options of fine-tunings do not change."""
        return self._folder(self.pretrain_options)

    def _folder(self, options: tuple[str, ...]) -> Path:
        name = 'full' if self.schedule == 1 else f'schedule-{self.schedule:g}'
        if options:
            name += '_' + hashlib.sha256(' '.join(options).encode()).hexdigest()[:8]
        return self.out / name

    def share_of(self, cell: Cell) -> float:
        """Share of a cell's schedule, not below the shortest that its task can be trained for."""
        share = max(cell.share * self.schedule, min(cell.task.least, cell.share))
        return float(f'{share:g}')  # as the fine-tuning reads it from SAIP_SCHEDULE

    def task_config(self, cell: Cell) -> Path:
        """Configuration of a cell's fine-tuning."""
        return self.root / 'configs/downstream' / cell.task.config

    def variables(self, weights: Weights, share: float) -> dict[str, str]:
        """What a task's configuration is told, apart from its weights."""
        short = {} if share == 1 else {'SAIP_SCHEDULE': f'{share:g}'}
        gain = {'SAIP_LAYER_SCALE': weights.layer_scale} if weights.layer_scale else {}
        return {'SAIP_BACKBONE': weights.encoder, **gain, **short}

    def read_task(self, cell: Cell, weights: Weights) -> Config:
        """Resolve the configuration of a cell's fine-tuning."""
        share = self.share_of(cell)
        usual = {'SAIP_SCHEDULE': '1', 'SAIP_LAYER_SCALE': '0'}
        variables = {**usual, **self.variables(weights, share)}
        config = self.task_config(cell)
        stated_gpus(config)  # which says it where there is none
        return _read(config, self.data, tuple(variables.items()), self.options)

    def takes_options(self, cell: Cell, weights: Weights) -> bool:
        """Whether a cell's fine-tuning has the keys of ``options``: they may be another task's."""
        if not self.options or cell.task.protocol:
            return True
        try:
            self.read_task(cell, weights)
        except ConfigKeyError:
            return False
        return True

    def read_pretraining(self, weights: Weights) -> Config:
        """Resolve the configuration of a pretraining."""
        config = self.root / 'configs/pretrain' / weights.pretraining
        options = self.pretraining_options(weights)
        return _read(config, self.data, (), tuple(options))

    def pretraining_options(self, weights: Weights) -> list[str]:
        """``KEY=VALUE`` of a pretraining: the row's, those that shorten it, those given."""
        config = self.root / 'configs/pretrain' / weights.pretraining
        found = list(weights.options)
        if self.schedule < 1:
            found += _shortened(_read(config, self.data, (), weights.options), self.schedule)
        return [*found, *self.pretrain_options]

    def processes(self, config: Path) -> int:
        """How many processes train a configuration."""
        return self.gpus or stated_gpus(config)

    def whole_batch(self, config: Path, cfg: Config) -> int:
        """Samples in a step of all processes, as configured."""
        own = self.processes(config) if self._gives_batch(config) else stated_gpus(config)
        accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
        return int(cfg.train_dataloader.batch_size * accumulated * own)

    def batch_option(self, config: Path, cfg: Config) -> list[str]:
        """The option that keeps the batch of all processes where there are others than stated.

        Raises:
            InputError: it cannot be divided among them.
        """
        stated, now = stated_gpus(config), self.processes(config)
        if stated == now or self._gives_batch(config):
            return []
        whole = cfg.train_dataloader.batch_size * stated
        if whole % now:
            raise InputError(
                f'--gpus {now}: a batch of {whole} ({config.name}) cannot be divided among them'
            )
        return [f'{BATCH}={whole // now}']

    def _gives_batch(self, config: Path) -> bool:
        given = self.options if 'downstream' in config.parts else self.pretrain_options
        return any(option.startswith(f'{BATCH}=') for option in given)


@lru_cache(maxsize=256)
def _read(
    config: Path, data: str, variables: tuple[tuple[str, str], ...], options: tuple[str, ...]
) -> Config:
    with environment({'SAIP_DATA': data, **dict(variables)}):
        return read_config(str(config), parse_options(list(options)))


def _shortened(cfg: Config, share: float) -> Iterator[str]:
    """Options that scale the epochs of a pretraining and of its schedules."""

    def scaled(length: int) -> int:
        return max(1, int(length * share + 0.5))

    epochs = max(2, scaled(cfg.train_cfg.max_epochs))
    yield f'train_cfg.max_epochs={epochs}'
    for number, schedule in enumerate(cfg.param_scheduler):
        begin = scaled(schedule.begin) if schedule.get('begin') else 0
        end = epochs if schedule.end >= cfg.train_cfg.max_epochs else scaled(schedule.end)
        found = {'begin': begin, 'end': max(end, begin + 1)}
        if 'T_max' in schedule:
            found['T_max'] = found['end'] - begin
        for key, value in found.items():
            yield f'param_scheduler.{number}.{key}={value}'


Kind = Literal['pretrain', 'finetune', 'test', 'probe', 'draw']


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        kind: what it does.
        what: in words.
        command: words, of which one with a ``*`` stands for the one file that it fits.
        variables: of the environment.
        work_dir: of its output.
        makes: the file that is there when it is finished, a pattern.
        digest: of the configuration that it trains, see :mod:`saip.engine.records`; '' where it
            trains none.
    """

    kind: Kind
    what: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    work_dir: Path
    makes: Path
    digest: str = ''

    def shell(self) -> str:
        """The command as a line of a shell."""
        words = [f'{key}={_assigned(value)}' for key, value in self.variables.items()]
        return ' '.join([*words, *(_quoted(word) for word in self.command)])


def matching(pattern: Path) -> list[Path]:
    """Files of a pattern, which may have stars in any part, sorted."""
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if '*' in part), len(parts))
    if first == len(parts):
        return [pattern] if pattern.exists() else []
    return sorted(Path(*parts[:first]).glob(str(Path(*parts[first:]))))


def is_pattern(word: str) -> bool:
    """Whether a word of a command stands for the one file that it fits."""
    return '*' in word and word.endswith('.pth')


def _quoted(word: str) -> str:
    """Quoted for a shell, which looks for the file of a pattern itself."""
    if not is_pattern(word):
        return shlex.quote(word)
    name, equals, pattern = word.rpartition('=')
    if equals:  # NAME=FILE
        return f'{shlex.quote(name)}={_assigned(pattern)}'
    return '*'.join(shlex.quote(part) if part else '' for part in word.split('*'))


def _assigned(word: str) -> str:
    """A shell looks for no file in an assignment."""
    return f'"$(ls {_quoted(word)})"' if is_pattern(word) else shlex.quote(word)


def weights_file(weights: Weights, settings: Settings) -> str:
    """The file that a row's fine-tunings begin with, a pattern; ``none`` from random weights."""
    if weights.published:
        return str(Path(settings.data) / 'weights' / f'{weights.name}.pth')
    if not weights.pretraining:
        return 'none'
    epochs = settings.read_pretraining(weights).train_cfg.max_epochs
    folder = settings.pretraining_folder / 'pretrain' / weights.name / 'backbones'
    return str(folder / f'backbone_epoch_{epochs}-*.pth')


def weights_steps(weights: Weights, settings: Settings) -> list[Step]:
    """Commands that make a row's weights."""
    if not weights.pretraining:
        return []  # what is published has to be fetched, see saip.experiments.reproduce.needs
    config = settings.root / 'configs/pretrain' / weights.pretraining
    work_dir = settings.pretraining_folder / 'pretrain' / weights.name
    cfg = settings.read_pretraining(weights)
    options = [*settings.pretraining_options(weights), *settings.batch_option(config, cfg)]
    command = _train(config, settings, work_dir, options)
    makes = Path(weights_file(weights, settings))
    what = f'pretraining {weights.name}'
    return [Step('pretrain', what, command, {}, work_dir, makes, digest_of(cfg, settings))]


def task_steps(row: Row, cell: Cell, settings: Settings) -> list[Step]:
    """Commands of a fine-tuning and its test, or of an evaluation of frozen features."""
    if cell.task.protocol:
        return [probe_step(row, cell, settings)]
    config, share = settings.task_config(cell), settings.share_of(cell)
    cfg = settings.read_task(cell, row.weights)
    work_dir = task_folder(row, cell, settings)
    variables = settings.variables(row.weights, share)
    batch = settings.batch_option(config, cfg)
    trained = _train(config, settings, work_dir, [*settings.options, *batch])
    last = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    tested = last if cell.task.tested == 'last' else work_dir / 'best_*_epoch_*.pth'
    what = f'{cell.task.title} from {row.weights.name}'
    begin = {'SAIP_INIT': weights_file(row.weights, settings)}
    test = [str(tested), '--work-dir', str(work_dir / 'test')]
    if settings.options:
        test += ['--cfg-options', *settings.options]
    tool = tool_path(settings, 'test.py')
    return [
        Step(
            'finetune',
            f'fine-tuning {what}',
            trained,
            {**variables, **begin},
            work_dir,
            last,
            digest_of(cfg, settings),
        ),
        Step(
            'test',
            f'test of {what}',
            ('python', tool, short_path(config, settings), *test),
            variables,
            work_dir / 'test',
            work_dir / 'test/records/test_*.json',
        ),
    ]


def probe_step(row: Row, cell: Cell, settings: Settings) -> Step:
    """Command of an evaluation of frozen features."""
    folder = settings.pretraining_folder / 'frozen' / row.weights.name
    record = folder / f'{cell.task.protocol}.json'
    epochs = max(1, round(PROBE_EPOCHS * settings.schedule))
    data = str(Path(settings.data) / cell.task.data[0])
    options = {'protocol': cell.task.protocol, 'feature': 'image_token', 'epochs': epochs}
    options |= {'batch-size': PROBE_BATCH, 'json': record}
    words = [word for key, value in options.items() for word in (f'--{key}', str(value))]
    return Step(
        'probe',
        f'{cell.task.protocol} probing of {row.weights.name}',
        (
            'python',
            tool_path(settings, 'eval_frozen.py'),
            weights_file(row.weights, settings),
            data,
            *words,
            '--no-baselines',
        ),
        {},
        folder / cell.task.protocol,
        record,
    )


def digest_of(cfg: Config, settings: Settings) -> str:
    """Digest of a training with the data of the settings."""
    with environment({'SAIP_DATA': settings.data}):
        return training_digest(cfg)


def task_folder(row: Row, cell: Cell, settings: Settings) -> Path:
    """Work directory of a fine-tuning."""
    share = '' if cell.share == 1 else f'_{cell.share:g}'
    return settings.folder / 'tasks' / f'{cell.task.name}{share}' / row.weights.name


def row_steps(row: Row, settings: Settings, task: str | None = None) -> list[Step]:
    """All commands of a row, or those of one of its tasks, in their order.

    Raises:
        InputError: the row has no such task, or a configuration does not exist.
    """
    names = list(dict.fromkeys(cell.task.name for cell in row.cells))
    if task is not None and task not in names:
        raise InputError(f'--run {row.name}:{task}: its tasks are {", ".join(names)}')
    found = weights_steps(row.weights, settings)
    for cell in {cell.task.name: cell for cell in row.cells}.values():
        if task in (None, cell.task.name):
            found += task_steps(row, cell, settings)
    return found


def _train(
    config: Path, settings: Settings, work_dir: Path, options: list[str]
) -> tuple[str, ...]:
    processes = settings.processes(config)
    tail = ['--work-dir', str(work_dir), '--resume', 'auto']
    if options:
        tail += ['--cfg-options', *options]
    name = short_path(config, settings)
    if processes == 1:
        return ('python', tool_path(settings, 'train.py'), name, *tail)
    return ('bash', tool_path(settings, 'dist_train.sh'), name, str(processes), *tail)


def tool_path(settings: Settings, name: str) -> str:
    """A tool as a command names it."""
    return short_path(settings.root / 'tools' / name, settings)


def short_path(path: Path, settings: Settings) -> str:
    """Relative to the repository where that is the present folder, as its documents have it."""
    inside = settings.root.resolve() == Path.cwd()
    return str(path.resolve().relative_to(settings.root.resolve()) if inside else path)


def describe_options(settings: Settings) -> dict[str, Any]:
    """What makes these settings others than the paper's, in words; empty if nothing does."""
    found = {}
    if settings.schedule < 1:
        found['schedule'] = f'{settings.schedule:.3g} of every schedule'
    if settings.options:
        found['fine-tuning options'] = ' '.join(settings.options)
    if settings.pretrain_options:
        found['pretraining options'] = ' '.join(settings.pretrain_options)
    return found
