"""Run a comparison: what is finished is not done again, what was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from saip.datasets.files import write_atomic
from saip.evaluation.histogram import CoarsePixels, ColorHistogram
from saip.experiments.compare.evaluation import Evaluated, evaluate_network, prepare_sets
from saip.experiments.compare.length import Length, TrainSet
from saip.experiments.compare.records import open_record
from saip.experiments.compare.rows import Row
from saip.experiments.compare.settings import Comparison
from saip.experiments.compare.summary import SCORES, RowResults, summarize, write_markdown
from saip.experiments.compare.surroundings import describe_surroundings
from saip.experiments.compare.training import checkpoint_of, lengths_of, train_run
from saip.experiments.compared_encoders import (
    HISTOGRAM,
    PIXELS,
    RANDOM,
    ComparedEncoders,
    find_compared_encoders,
    random_twin,
)
from saip.experiments.dense_eval import PlaceAlone
from saip.experiments.frozen_eval import FrozenEncoder
from saip.experiments.training_process import say
from saip.models.backbones import BaseEncoder
from saip.models.selfsup.predicting import Feature
from saip.visualization.comparison import draw_comparison

PLACE = 'place alone'
NAME = 'comparison'

Size = tuple[int, int] | None
"""(h, w) at which images are encoded; None: as in the training of the network."""


def compare(comparison: Comparison) -> str:
    """Train and evaluate all rows, and write ``comparison.json``, ``.md`` and ``.png``.

    The files are written anew after every row, so that they show what there is.

    Returns:
        The page with the table, Markdown.

    Raises:
        InputError: a row cannot be trained, or the folder holds runs of other settings.
        StoppedError: a training stopped.
    """
    comparison.check_rows()
    train_set = TrainSet.open(comparison.data)
    lengths = lengths_of(comparison, train_set, comparison.out / 'speed')
    prepare_sets(comparison)
    _say_what_leaves(comparison)
    size = comparison.read_size()
    clock = _Clock(len(comparison.trained) * comparison.seeds)
    results: list[RowResults] = []
    page = ''
    for row in comparison.rows:
        results += _run_row(comparison, row, lengths.get(row), size, clock)
        page = _write(comparison, results, train_set)
    source = _first_network(comparison, lengths, size)
    for baseline in _baselines(comparison, source):
        results.append(baseline)
        page = _write(comparison, results, train_set)
    return page


def _say_what_leaves(comparison: Comparison) -> None:
    """Name the rows of an earlier table in this folder that the new one will not have."""
    file = (comparison.out / NAME).with_suffix('.json')
    if not file.is_file():
        return
    former = json.loads(file.read_text(encoding='utf-8'))['rows']
    kept = {row.name for row in comparison.rows}
    left = [row['row'] for row in former if row['kind'] == 'trained' and row['row'] not in kept]
    if left:
        say(
            f'{file.with_suffix(".md")}: {", ".join(left)} leave the table, since this call does '
            'not name them; their runs stay, and naming them again brings them back'
        )


class _Clock:
    """Says how far a comparison is.

    Args:
        total: trainings.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done, self.worked = total, 0, 0
        self.started = time.monotonic()

    def begin(self, what: str) -> None:
        """Announce a training."""
        say(f'[{self.done + 1}/{self.total}] {what}')

    def end(self, what: str, worked: bool) -> None:
        """Announce its end; one that had been finished before takes no time."""
        self.done += 1
        self.worked += worked
        left = self.total - self.done
        seconds = (time.monotonic() - self.started) / max(1, self.worked) * left
        about = f'about {timedelta(seconds=round(seconds))} left' if self.worked else ''
        say(f'[{self.done}/{self.total}] {what}: done{", " if about else ""}{about}')


def _run_row(
    comparison: Comparison, row: Row, length: Length | None, size: Size, clock: _Clock
) -> list[RowResults]:
    if length is None:
        network = partial(_network, comparison.weights[str(row.weights)], None, size)
        settings = comparison.weights_settings(row)
        return [
            RowResults(
                name,
                'given',
                0,
                [],
                [
                    _evaluated(
                        comparison, feature, comparison.out / 'runs' / folder, settings, network
                    )
                ],
            )
            for name, folder, feature in _by_feature(comparison, row.name, row.folder)
        ]
    feature = comparison.feature_of(row)
    runs, seconds = [], []
    for seed in range(comparison.seeds):
        folder = comparison.out / 'runs' / row.folder / f'seed_{seed}'
        what = f'{row.name}, seed {seed} ({length.images:,} images)'
        clock.begin(what)
        settings = comparison.training_settings(row, seed, length)
        record = open_record(folder, settings)
        finished = record.evaluation == comparison.evaluation_settings(feature)
        if not finished:
            train_run(comparison, row, seed, length, folder, record)
        network = partial(_network, checkpoint_of(folder, length), comparison.which, None)
        runs.append(_evaluated(comparison, feature, folder, settings, network))
        seconds.append(record.seconds)
        clock.end(what, worked=not finished)
    return [RowResults(row.name, 'trained', length.images, seconds, runs)]


def _by_feature(
    comparison: Comparison, name: str, folder: str
) -> Iterator[tuple[str, str, Feature]]:
    """Name, folder and feature of an untrained network, for each feature that rows are read by.

    A method whose feature is another one than the usual has to beat that of the same network.
    """
    usual, *others = comparison.features()
    yield name, folder, usual
    for feature in others:
        yield f'{name} ({feature})', f'{folder}_{feature}', feature


Network = tuple[FrozenEncoder, ComparedEncoders]


def _network(file: Path, which: str | None, size: Size) -> Network:
    """A network of a file, by name or the first, and how its images are made."""
    compared = find_compared_encoders(str(file), size=size)
    return compared.encoders[which or next(iter(compared.encoders))], compared


def _as_it_is(encoder: FrozenEncoder, compared: ComparedEncoders) -> Network:
    return encoder, compared


def _first_network(
    comparison: Comparison, lengths: dict[Row, Length], size: Size
) -> ComparedEncoders:
    row = comparison.rows[0]
    if row not in lengths:
        return _network(comparison.weights[str(row.weights)], None, size)[1]
    folder = comparison.out / 'runs' / row.folder / 'seed_0'
    return _network(checkpoint_of(folder, lengths[row]), None, None)[1]


def _evaluated(
    comparison: Comparison,
    feature: Feature,
    folder: Path,
    settings: dict[str, Any],
    network: Callable[[], Network],
    **has: bool,
) -> Evaluated:
    """Evaluate a network, unless that is in its record."""
    record = open_record(folder, settings)
    wanted = comparison.evaluation_settings(feature)
    if record.evaluation != wanted:
        encoder, compared = network()
        say(f'evaluating {folder.relative_to(comparison.out)}')
        found = evaluate_network(
            encoder, compared.preprocessor, compared.size, comparison, feature, **has
        )
        record.metrics, record.sums = found.metrics, found.sums
        record.evaluation = wanted
        record.write(folder)
    return Evaluated(record.metrics, record.sums)


def _baselines(comparison: Comparison, compared: ComparedEncoders) -> Iterator[RowResults]:
    """Evaluate what needs no training, with the size and the statistics of the first row."""
    trained = next(one for one in compared.encoders.values() if isinstance(one, BaseEncoder))
    text = json.dumps([trained.architecture(), compared.size], default=str)
    settings = {'architecture_sha256': hashlib.sha256(text.encode()).hexdigest()}
    with torch.no_grad():
        grid = trained.encode(torch.zeros(1, 3, *compared.size)).grid

    usual = comparison.features()[0]

    def row(
        name: str,
        encoders: Sequence[FrozenEncoder],
        feature: Feature = usual,
        below: str | None = None,
        **has: bool,
    ) -> RowResults:
        folder = comparison.out / 'runs' / 'baselines' / (below or name).replace(' ', '_')
        runs = [
            _evaluated(
                comparison,
                feature,
                folder / f'seed_{seed}',
                settings,
                partial(_as_it_is, encoder, compared),
                **has,
            )
            for seed, encoder in enumerate(encoders)
        ]
        return RowResults(name, 'baseline', 0, [], runs)

    twins = [random_twin(trained, seed) for seed in range(comparison.seeds)]
    for name, below, feature in _by_feature(comparison, RANDOM, RANDOM):
        yield row(name, twins, feature, below)
    for name, kind in ((HISTOGRAM, ColorHistogram), (PIXELS, CoarsePixels)):
        encoder = compared.encoders[name]
        assert isinstance(encoder, kind)
        yield row(name, [encoder], has_patches=False)
    yield row(PLACE, [PlaceAlone(grid)], has_token=False)


def _write(comparison: Comparison, results: Sequence[RowResults], train_set: TrainSet) -> str:
    """Write what there is; return the page."""
    summary = summarize(results)
    settings = comparison.describe(train_set)
    surroundings = describe_surroundings(comparison.device)
    record = {'settings': settings, 'surroundings': surroundings, 'rows': summary}
    page = write_markdown(summary, settings, surroundings)
    title = (
        f'{settings["encoder"]}, {settings["length"]}, {settings["seeds"]} seed(s), '
        f'{surroundings["device"]}, {surroundings["date"]}'
    )
    buffer = BytesIO()
    draw_comparison(summary, SCORES, title).save(buffer, 'PNG')
    out = comparison.out / NAME
    write_atomic(out.with_suffix('.json'), f'{json.dumps(record, indent=1)}\n'.encode())
    write_atomic(out.with_suffix('.md'), page.encode())
    write_atomic(out.with_suffix('.png'), buffer.getvalue())
    return page
