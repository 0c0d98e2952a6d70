"""What all rows of a comparison have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from saip.checkpoint import Which, file_sha256, load_checkpoint_file
from saip.engine.launch import read_config
from saip.engine.options import parse_options
from saip.engine.start_checks import check_keypoints, reads_keypoints
from saip.errors import InputError, MissingFileError, library_refusals
from saip.experiments.compare.length import Length, TrainSet
from saip.experiments.compare.rows import Row
from saip.experiments.compared_encoders import MARKET_FOLDERS
from saip.experiments.dense_eval import DenseData
from saip.experiments.finetune_job import config_digest, environment
from saip.models.selfsup.init_from import InitFrom, load_parts
from saip.models.selfsup.predicting import Feature
from saip.registry import MODELS

LEAF = 'pretrain/compare/any-method_any-backbone_1xb32-amp-coslr_folder.py'
METHODS = 'pretrain/_base_/methods'
SAVED = 6
"""Checkpoints of a training: an interrupted one loses a sixth of it."""

_SOME = Length(epochs=2, holdout=1, steps=2, images=4)
"""A length, for what does not depend on it."""


@dataclass(frozen=True)
class Comparison:
    """A comparison, as it was asked for.

    Attributes:
        rows: what is compared.
        weights: files of weights to begin with, by name.
        data: folder of images to train on; a part of it is held back for the two-view recall.
        retrieval: a set in Market-1501 layout.
        out: folder of all results.
        images: that each training sees; None divides ``minutes``.
        minutes: wall time of all trainings together; None counts ``images``.
        seeds: trainings per row.
        batch: images per step.
        backbone: name of a file of ``configs/_base_/backbones``.
        which: the network that is evaluated.
        feature: what is read of it to retrieve; None takes each method's own
            (``model.feature``).
        device: cpu, cuda or cuda:N.
        workers: processes that read images.
        options: ``KEY=VALUE`` for all trainings.
        parts: a set in LIP's layout; None draws synthetic persons.
        keypoints: a set in the layout of COCO; None draws synthetic persons.
        configs: folder of the configurations.
        tools: folder of ``train.py``.
    """

    rows: Sequence[Row]
    weights: Mapping[str, Path]
    data: Path
    retrieval: Path
    out: Path
    images: int | None
    minutes: float | None
    seeds: int
    batch: int
    backbone: str
    which: Which
    feature: Feature | None
    device: str
    workers: int
    options: Sequence[str]
    parts: Path | None
    keypoints: Path | None
    configs: Path
    tools: Path

    def __post_init__(self) -> None:
        if (self.images is None) == (self.minutes is None):
            raise InputError('give either --images or --time')
        for flag, value, low in (
            ('--images', self.images, 1),
            ('--seeds', self.seeds, 1),
            ('--batch-size', self.batch, 2),
            ('--workers', self.workers, 0),
        ):
            if value is not None and value < low:
                raise InputError(f'{flag} {value}: at least {low} is needed')
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f'--time {self.minutes}: more than 0 minutes are needed')
        for flag, folder in (('--data', self.data), ('--retrieval', self.retrieval)):
            if not folder.exists():
                raise MissingFileError(f'{flag} {folder}: no such folder')
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f'--out {self.out}: is a file; a folder is needed')
        unused = sorted(set(self.weights) - {row.weights for row in self.rows})
        if unused:
            raise InputError(
                f'--init {unused[0]}: no row begins with it; add {unused[0]} or '
                f'{unused[0]}+METHOD'
            )
        if (self.data / MARKET_FOLDERS[1]).is_dir():
            raise InputError(
                f'--data {self.data}: holds query and gallery of a retrieval, which would be '
                'trained on; name a folder without them, such as its bounding_box_train'
            )

    @property
    def dense(self) -> DenseData:
        """Annotations of the dense measures, given or drawn."""
        return DenseData(
            str(self.parts or self.out / 'parts'), str(self.keypoints or self.out / 'keypoints')
        )

    @property
    def trained(self) -> list[Row]:
        """The rows that train."""
        return [row for row in self.rows if row.method is not None]

    def variables(self, row: Row, length: Length) -> dict[str, str]:
        """Environment of a training: what the leaf configuration reads, and the device."""
        found = {
            'SAIP_METHOD': str(row.method),
            'SAIP_BACKBONE': self.backbone,
            'SAIP_FOLDER': str(self.data),
            'SAIP_EPOCHS': str(length.epochs),
            'SAIP_RETRIEVAL': 'none',
            'SAIP_LABELED': 'none',
        }
        kind, _, number = self.device.partition(':')
        if kind == 'cpu':
            found['CUDA_VISIBLE_DEVICES'] = ''
        elif number:
            found['CUDA_VISIBLE_DEVICES'] = number
        return found

    def row_options(self, row: Row, seed: int, length: Length) -> list[str]:
        """``KEY=VALUE`` of a training; a row's own come last."""
        found = [
            f'randomness.seed={seed}',
            f'model.data_preprocessor.seed={seed}',
            f'train_dataloader.batch_size={self.batch}',
            f'train_dataloader.num_workers={self.workers}',
            f'train_dataloader.dataset.holdout={length.holdout}',
            f'default_hooks.checkpoint.interval={max(1, length.epochs // SAVED)}',
            'default_hooks.checkpoint.max_keep_ckpts=1',
        ]
        if row.weights is not None:
            file = self.weights[row.weights].resolve()
            found += [
                f"model.init_from.checkpoint='{file}'",
                'model.init_from.prefixes.backbone=backbone',
                # A controller begins as it would without the weights.
                'model.init_from.allow_missing=[backbone.controller.]',
            ]
            found += [
                f'model.data_preprocessor.{key}={value}'
                for key, value in _read_statistics(file).items()
            ]
        return [*found, *self.options, *row.options]

    def leaf(self) -> Path:
        """The configuration that is trained."""
        return self.configs / LEAF

    def read(self, row: Row, seed: int, length: Length) -> Config:
        """Resolve the configuration of a training.

        Raises:
            InputError: an option names nothing, or there is no such encoder.
        """
        with environment(self.variables(row, length)):
            options = parse_options(self.row_options(row, seed, length))
            return read_config(str(self.leaf()), options)

    def check_rows(self) -> None:
        """Build every method, without memory for its tensors, before the first one is trained.

        Raises:
            InputError: the encoder cannot do a method, with the reason, or an expert is to be
                evaluated that a method has not, or does not train.
        """
        for row in self.trained:
            cfg = self.read(row, 0, _SOME)
            with library_refusals(row.text):
                check_keypoints(cfg)
                weights = cfg.model.pop('init_from', None)
                with torch.device('cpu' if weights else 'meta'):
                    model = MODELS.build(cfg.model)
                if weights:
                    load_parts(model, InitFrom.from_config(weights), of_expert=False)
            expert = model.expert
            if self.which == 'expert' and (expert is None or not expert.is_average):
                raise InputError(
                    f'{row.text}: trains no expert that could be evaluated; --which student'
                )

    def read_size(self) -> tuple[int, int] | None:
        """(h, w) of the anchor of the first row that trains; weights as they are get it, too."""
        for row in self.trained:
            size = self.read(row, 0, _SOME).model.data_preprocessor.size
            return (size[0], size[1])
        return None

    def training_settings(self, row: Row, seed: int, length: Length) -> dict[str, Any]:
        """What a training is, in plain values: two equal ones give the same weights."""
        weights = self.weights.get(row.weights or '')
        digest = file_sha256(weights) if weights else None
        return {
            'images': length.images,
            'epochs': length.epochs,
            'device': self.device.partition(':')[0],
            'weights_sha256': digest,
            # Processes that read images change no weight.
            'config_sha256': config_digest(
                replace(self, workers=0).read(row, seed, length),
                str(weights.resolve()) if weights else 'none',
            ),
        }

    @cached_property
    def _methods(self) -> dict[Row, Config]:
        """Configurations of the rows that train, for what no length and no seed changes."""
        return {row: self.read(row, 0, _SOME) for row in self.trained}

    def feature_of(self, row: Row) -> Feature:
        """What is read of the network of a row that trains, to retrieve."""
        return self.feature or self._methods[row].model.get('feature', 'image_token')

    def features(self) -> list[Feature]:
        """What is read of the networks of all rows, the usual one first."""
        found = Counter(self.feature_of(row) for row in self.trained)
        usual: Feature = self.feature or 'image_token'
        return [feature for feature, _ in found.most_common()] or [usual]

    def evaluation_settings(self, feature: Feature) -> dict[str, Any]:
        """What the evaluation of a network is, in plain values."""
        return {
            'retrieval': str(self.retrieval.resolve()),
            'data': str(self.data.resolve()),
            'parts': str(Path(self.dense.parts).resolve()),
            'keypoints': str(Path(self.dense.keypoints).resolve()),
            'which': self.which,
            'feature': feature,
        }

    def weights_settings(self, row: Row) -> dict[str, Any]:
        """The same of weights that are evaluated as they are."""
        return {'weights_sha256': file_sha256(self.weights[str(row.weights)])}

    def _describe_features(self) -> str:
        """The features that are retrieved by, with the rows of those that are not usual."""
        usual = self.features()[0]
        by_row = {row.name: self.feature_of(row) for row in self.trained}
        others = [f'{name}: {found}' for name, found in by_row.items() if found != usual]
        return f'{usual} ({", ".join(others)})' if others else usual

    def _describe_rows(self) -> dict[str, str]:
        """What only some rows have: given weights, λ of a controller, keypoints to train with."""
        conditions, keypoints = [], []
        for row, cfg in self._methods.items():
            controller = cfg.model.backbone.get('controller')
            if controller:
                conditions.append(f'{row.name}: {controller.get("condition", 1.0):g}')
            if reads_keypoints(cfg):
                file = cfg.train_dataloader.dataset.get('keypoints')
                keypoints.append(f'{row.name}: {_short(file) if file else "a template"}')
        found = {
            'weights': [
                f'{name}: {file.name} (SHA-256 {file_sha256(file)[:8]})'
                for name, file in self.weights.items()
            ],
            'λ of the controller': conditions,
            'keypoints of the training images': keypoints,
        }
        return {key: ', '.join(lines) for key, lines in found.items() if lines}

    def describe(self, train_set: TrainSet) -> dict[str, Any]:
        """What a reader of the results must know, without the folders of this machine."""
        given = (
            f'{self.images:,} images per training'
            if self.images is not None
            else f'{self.minutes:g} minutes for all trainings, in equal shares'
        )
        return {
            'encoder': self.backbone,
            'length': given,
            'seeds': self.seeds,
            'batch': self.batch,
            'training images': f'{_short(self.data)}, {train_set.files - train_set.held_back:,} '
            f'of them; {train_set.held_back:,} others are held back for the two-view recall',
            'retrieval': _short(self.retrieval),
            'parts': _short(self.dense.parts),
            'keypoints': _short(self.dense.keypoints),
            'which': self.which,
            'feature': self._describe_features(),
            **self._describe_rows(),
            'options of all rows': ' '.join(self.options) or 'none',
        }


@cache
def _read_statistics(file: Path) -> dict[str, list[float]]:
    """Mean and deviation of the pixels that weights were trained with, where the file has them."""
    statistics = (load_checkpoint_file(file).get('meta') or {}).get('statistics') or {}
    return {key: list(statistics[key]) for key in ('mean', 'std') if key in statistics}


def _short(path: str | Path) -> str:
    return '/'.join(Path(path).resolve().parts[-2:])
