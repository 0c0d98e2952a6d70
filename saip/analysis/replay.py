"""A training step whose losses or gradients were not finite, once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmengine.registry import init_default_scope
from mmengine.runner.amp import autocast
from PIL import Image
from torch.utils.data import Dataset, default_collate

from saip.checkpoint import load_checkpoint_file
from saip.checkpoint.renamed import drop_unread_twins, translate_checkpoint
from saip.datasets.files import read_text
from saip.engine.amp import norm_of
from saip.engine.cpu_bfloat16 import is_unsafe
from saip.engine.hooks.skipped_steps import FILE
from saip.engine.launch import drop_pretrained, read_config
from saip.engine.resume import compare_weights, newest_checkpoint, own_and_given, shapes_of
from saip.errors import InputError, MissingFileError, library_refusals
from saip.models.selfsup import Pretrainer
from saip.registry import DATASETS, MODELS
from saip.structures import Progress
from saip.views import Clock
from saip.visualization.views import draw_views

Row = dict[str, Any]

KEYS = (
    *('not_finite', 'rank', 'samples', 'micro_batches'),
    *('processes', 'steps_per_epoch', 'max_iters', 'accumulated'),
)
"""Keys of a line that are needed to compute a step again."""


@dataclass(frozen=True)
class Replayed:
    """A micro-batch that was computed again.

    Attributes:
        iteration: its number in the run, from 1.
        rank: of the process that had it.
        samples: names of its images.
        terms: losses by name.
        gradient_norm: of all parameters together.
        images: the views of its first images.
    """

    iteration: int
    rank: int
    samples: list[str]
    terms: dict[str, float]
    gradient_norm: float
    images: list[Image.Image]


def skipped_rows(work_dir: Path) -> list[Row]:
    """Lines of ``skipped_steps.jsonl``.

    Raises:
        MissingFileError: the run has skipped no step.
        InputError: a line is damaged, or an earlier version wrote it, without the samples.
    """
    path = work_dir / FILE
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file; the run has skipped no step')
    return [
        _row(line, f'{path}: line {number}')
        for number, line in enumerate(read_text(path).splitlines())
    ]


def _row(line: str, place: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:  # as that of a run that was killed or had no room
        raise InputError(f'{place} is damaged ({error}): remove it') from error
    absent = [key for key in KEYS if not isinstance(row, dict) or key not in row]
    if absent:
        raise InputError(f'{place} has no {absent[0]}: written by an earlier version')
    if not all(ids and isinstance(ids[0], list) for _, ids in row['micro_batches']):
        raise InputError(
            f'{place} has no keys of images: only steps of a pretraining are replayed'
        )
    return row


def replay(
    config: Path, work_dir: Path, row: Row, checkpoint: Path | None = None, images: int = 4
) -> Iterator[Replayed]:
    """Compute the micro-batches of a skipped step again, with their images and views.

    Weights are those of a checkpoint, which is older than the step: where the values are finite
    now, the weights of the time were to blame and not the images.

    Args:
        config: of the pretraining.
        work_dir: its folder.
        row: line of :func:`skipped_rows`, a step on one process.
        checkpoint: of the run; None takes the newest that is undamaged.
        images: number of images whose views are drawn.

    Raises:
        InputError: the configuration is none of a pretraining or of another one, the images have
            changed, or the run has no checkpoint.
    """
    cfg = read_config(str(config))
    init_default_scope('saip')
    with library_refusals(str(config)):
        model = _load(cfg, work_dir, checkpoint)
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    asks = cfg.optim_wrapper.get('dtype', 'bfloat16') == 'bfloat16'
    lowers = asks and not is_unsafe(model)  # as on a GPU, slow or not
    for iteration, ids in row['micro_batches']:
        batch = default_collate([_sample(dataset, *pair) for pair in ids])
        model.begin_step(
            Progress.at(
                iteration - 1, row['max_iters'], row['steps_per_epoch'], row['accumulated']
            )
        )
        epoch = (iteration - 1) // row['steps_per_epoch']
        preprocessor = model.data_preprocessor
        clock = Clock(preprocessor.seed, epoch, iteration - 1, row['rank'], row['processes'])
        views = preprocessor.replay(batch, clock)
        with autocast(enabled=lowers, dtype=torch.bfloat16):
            terms = model(inputs=views, data_samples={}, mode='loss')
        model.zero_grad()
        torch.stack([value for name, value in terms.items() if 'loss' in name]).sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        yield Replayed(
            iteration,
            row['rank'],
            row['samples'],
            {name: float(value) for name, value in terms.items()},
            float(norm_of(gradients)),
            [
                draw_views(views, preprocessor, number, batch['canvas'][number])
                for number in range(min(images, len(ids)))
            ],
        )


def _load(cfg: Config, work_dir: Path, checkpoint: Path | None) -> Pretrainer:
    if checkpoint is None:
        found = newest_checkpoint(work_dir)
        if found is None:
            raise InputError(f'{work_dir}: no checkpoint to take weights from; name one')
        checkpoint = found[0]
    drop_pretrained(cfg.model)
    model = MODELS.build(cfg.model)
    if not isinstance(model, Pretrainer):
        raise InputError(f'{cfg.filename}: only steps of a pretraining can be replayed')
    content = load_checkpoint_file(checkpoint)
    translate_checkpoint(content)
    weights = content.get('state_dict', {})
    drop_unread_twins(weights, model.state_dict().keys())
    compare_weights(*own_and_given(model, shapes_of(content)), str(checkpoint))
    model.load_state_dict(weights)
    return model.train()


def _sample(dataset: Dataset, index: int, key: int) -> Row:
    """The sample of a position and a key in one set or a mixture.

    Raises:
        InputError: no set has it: the images are others than they were.
    """
    members: Any = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
    for member in members:
        if index < len(member) and member.key(index) == key:
            return member[index]
    raise InputError(
        f'the training set has no image {index} with key {key}: its images have changed'
    )
