"""Evaluation of frozen networks by labels: k-NN, logistic regression, linear and attentive probes.

Shapes: N images, T tokens, D channels, C classes or attributes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils.data import DataLoader

from saip.datasets.labeled import LabeledImages, LabeledSet, Part, Size, read_classes
from saip.datasets.parallel import use_one_thread
from saip.datasets.progress import track
from saip.downstream.attributes.annotations import read_pa100k
from saip.downstream.attributes.metric import balanced_accuracies, image_scores
from saip.engine.explain import explained_worker
from saip.errors import InputError
from saip.evaluation.features import require_finite
from saip.evaluation.logistic import draw_labels, fit_best
from saip.evaluation.neighbors import NEIGHBORS, knn_accuracy, knn_scores
from saip.evaluation.probing import (
    RECIPES,
    ParallelProbes,
    ProbeRecipe,
    cached_batches,
    train_probes,
)
from saip.experiments.frozen_eval import FrozenEncoder, read_output
from saip.models.selfsup.predicting import Feature
from saip.structures import EncoderOutput

Item = TypeVar('Item')
Protocol = Literal['knn', 'linear', 'linear-dino', 'linear-cached', 'attentive', 'lowshot']
PROTOCOLS = ('knn', 'linear', 'linear-dino', 'linear-cached', 'attentive', 'lowshot')
SHARES = (0.01, 0.05, 0.1, 1.0)
SEEDS = 5
PA100K_FILE, PA100K_ATTRIBUTES = 'annotation.mat', 26
HEAD_WIDTH = 64

Score = Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, float]]
"""Scores of one network by training features, their targets, test features and theirs."""


@dataclass(frozen=True)
class LabeledSettings:
    """How networks are evaluated.

    Attributes:
        size: (h, w) at which images are encoded.
        feature: what is read of a network, except by attentive probes.
        batch_size: images per step; learning rates are scaled by it.
        num_workers: processes that read images.
        device: where to compute; None takes the best one there is.
        epochs: of probes; None takes those of the protocol.
        rates: learning rates per 256 images; None takes those of the protocol.
        seeds: draws of few labels.
        progress: whether to write progress to stderr.
    """

    size: Size
    feature: Feature = 'image_token'
    batch_size: int = 64
    num_workers: int = 2
    device: str | None = None
    epochs: int | None = None
    rates: tuple[float, ...] | None = None
    seeds: int = SEEDS
    progress: bool = True


def open_labeled(root: str | Path) -> LabeledSet:
    """Open PA-100K by its annotations, any other set by its folders.

    Raises:
        FileNotFoundError: there is no such folder, or no labels in it.
        DataError: the labels cannot be used.
    """
    folder = Path(root).expanduser()
    if not (folder / PA100K_FILE).is_file():
        return read_classes(folder)
    paths: dict[Part, list[str]] = {}
    targets: dict[Part, np.ndarray] = {}
    names: tuple[str, ...] = ()
    parts: tuple[tuple[Part, str], ...] = (('train', 'trainval'), ('test', 'test'))
    for part, split in parts:
        found = read_pa100k(folder / PA100K_FILE, split, PA100K_ATTRIBUTES)
        paths[part] = [str(folder / 'data' / name) for name in found.names]
        targets[part] = found.labels.astype(np.float32)
        names = found.attributes
    return LabeledSet(paths, targets, names)


def evaluate_labeled(
    encoders: Mapping[str, FrozenEncoder],
    labeled: LabeledSet,
    preprocessor: nn.Module,
    protocol: Protocol,
    settings: LabeledSettings,
) -> dict[str, Any]:
    """Evaluate frozen networks on one labeled set, in float32 and eval mode.

    ``knn``, ``lowshot`` and ``linear-cached`` encode every image once; the features are on the
    host, those of one network at a time on the device. ``linear``, ``linear-dino`` and
    ``attentive`` encode augmented images anew in every epoch and keep no more than a batch.

    Args:
        encoders: by the name of their row.
        labeled: the images.
        preprocessor: turns a batch into normalized images.
        protocol: one of ``PROTOCOLS``.
        settings: see :class:`LabeledSettings`.

    Returns:
        ``protocol``, ``feature``, ``images`` (to learn from), ``tested``, ``classes``,
        ``metric`` (``top-1`` or ``mA``), and ``rows``: by name of the encoder its scores in
        percent. A column is a number of neighbors, a share of the labels (its mean and ``sd`` over
        the seeds), or a learning rate, unless the probe has diverged with it.

    Raises:
        InputError: there is no such protocol, or features are not finite.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f'--protocol {protocol}: choose one of {", ".join(PROTOCOLS)}')
    device = torch.device(settings.device or get_device())
    preprocessor.to(device).eval()
    for encoder in encoders.values():
        encoder.to(device)
        encoder.eval()
    evaluation = _Evaluation(encoders, labeled, preprocessor, settings, device)
    return {
        'protocol': protocol,
        'feature': 'all tokens' if protocol == 'attentive' else settings.feature,
        'images': len(labeled.paths['train']),
        'tested': len(labeled.paths['test']),
        'classes': len(labeled.names),
        'metric': 'mA' if labeled.has_attributes else 'top-1',
        'rows': evaluation.run(protocol),
    }


class _Evaluation:
    """Networks on one set; an image is read once for all of them."""

    def __init__(
        self,
        encoders: Mapping[str, FrozenEncoder],
        labeled: LabeledSet,
        preprocessor: nn.Module,
        settings: LabeledSettings,
        device: torch.device,
    ) -> None:
        self.encoders = encoders
        self.labeled = labeled
        self.preprocessor = preprocessor
        self.settings = settings
        self.device = device
        self.classes = len(labeled.names)
        images = len(labeled.paths['train'])
        self.batch_size = min(settings.batch_size, images)
        self.steps = images // self.batch_size

    def run(self, protocol: Protocol) -> dict[str, dict[str, float]]:
        """Scores of each network by the names of their columns."""
        if protocol == 'knn':
            return self._of_cached(self._knn)
        if protocol == 'lowshot':
            return self._of_cached(self._lowshot)
        recipe = RECIPES['linear' if protocol == 'linear-cached' else protocol]
        if recipe.norm and self.batch_size < 2:
            raise InputError(
                f'--batch-size {self.batch_size}: --protocol {protocol} normalizes by the images '
                'of a batch, of which there are at least 2'
            )
        epochs = self.settings.epochs or recipe.epochs
        recipe = replace(
            recipe,
            epochs=epochs,
            warm_up=min(recipe.warm_up, epochs // 2),
            rates=self.settings.rates or recipe.rates,
        )
        if protocol == 'linear-cached':
            return self._of_cached(partial(self._linear_cached, recipe))
        return self._of_augmented(recipe)

    # Reading

    def _read(self, output: EncoderOutput, attentive: bool) -> Tensor:
        """(B, T, D) of all tokens, or the (B, D) feature."""
        if not attentive:
            return read_output(output, self.settings.feature)
        token, patches = output.image_token, output.patch_tokens
        if patches is None:
            raise InputError('attentive probes read patch tokens, which this row has not')
        # Maps of convolutional networks may be of another width than their image token.
        joined = token is not None and token.shape[-1] == patches.shape[-1]
        parts = [token[:, None], patches] if joined and token is not None else [patches]
        return torch.cat(parts, 1).float()

    def _batches(
        self, part: Part, attentive: bool, epoch: int | None = None
    ) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Features by network, and targets: of whole images in order, or of random parts."""
        augment = epoch is not None
        images = LabeledImages(self.labeled, part, self.settings.size, augment)
        images.set_epoch(epoch or 0)
        generator = torch.Generator().manual_seed(epoch or 0)
        loader = DataLoader(
            images,
            self.batch_size if augment else self.settings.batch_size,
            shuffle=augment,
            generator=generator,
            num_workers=self.settings.num_workers,
            drop_last=augment,
            worker_init_fn=use_one_thread,
        )
        batches = loader if augment else self._tracked(loader, len(loader), part)
        with explained_worker(f'--workers {self.settings.num_workers} or --batch-size'):
            for batch in batches:
                inputs = self.preprocessor({'image': batch['image']}, False)['inputs']
                with torch.no_grad():
                    features = {
                        name: self._read(encoder.encode(inputs), attentive)
                        for name, encoder in self.encoders.items()
                    }
                yield features, batch['target'].to(self.device)

    def _tracked(self, items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
        """Items with their progress, if it is wanted."""
        return track(items, total, what) if self.settings.progress else items

    def _extract(self, part: Part) -> tuple[dict[str, Tensor], Tensor]:
        """(N, D) features of whole images by network, on the host, and their targets."""
        features: dict[str, list[Tensor]] = {name: [] for name in self.encoders}
        targets = []
        for found, labels in self._batches(part, attentive=False):
            for name, rows in found.items():
                features[name].append(rows.cpu())
            targets.append(labels)
        return {name: torch.cat(rows) for name, rows in features.items()}, torch.cat(targets)

    # Protocols

    def _of_cached(self, score: Score) -> dict[str, dict[str, float]]:
        """Encode every image once, then score one network after the other."""
        train, targets = self._extract('train')
        test, truth = self._extract('test')
        return {
            name: score(train[name].to(self.device), targets, test[name].to(self.device), truth)
            for name in self.encoders
        }

    def _knn(
        self, train: Tensor, targets: Tensor, test: Tensor, truth: Tensor
    ) -> dict[str, float]:
        if not self.labeled.has_attributes:
            found = knn_accuracy(train, targets, test, truth, NEIGHBORS)
            return {f'k={k}': value for k, value in found.items()}
        scores = knn_scores(train, targets, test, self.classes, NEIGHBORS)
        return {
            f'k={k} {name}': value
            for k, rows in scores.items()
            for name, value in _attribute_scores(rows - 0.5, truth).items()
        }

    def _lowshot(
        self, train: Tensor, targets: Tensor, test: Tensor, truth: Tensor
    ) -> dict[str, float]:
        draws = [
            (share, seed)
            for share in SHARES
            for seed in range(1 if share == 1 else self.settings.seeds)
        ]
        by_share: dict[float, list[float]] = {share: [] for share in SHARES}
        for share, seed in self._tracked(draws, len(draws), 'logistic regressions'):
            chosen = draw_labels(targets, share, seed).to(self.device)
            model = fit_best(train[chosen], targets[chosen], self.classes, seed)
            by_share[share].append(next(iter(self._score(model(test), truth).values())))
        found: dict[str, float] = {}
        for share, results in by_share.items():
            found[f'{100 * share:g} %'] = float(np.mean(results))
            if len(results) > 1:
                found[f'{100 * share:g} % sd'] = float(np.std(results, ddof=1))
        return found

    def _linear_cached(
        self, recipe: ProbeRecipe, train: Tensor, targets: Tensor, test: Tensor, truth: Tensor
    ) -> dict[str, float]:
        probes = self._build(recipe, train)
        epochs = iter(self._tracked(range(recipe.epochs), recipe.epochs, 'epochs'))

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            next(epochs)
            return cached_batches(train, targets, self.batch_size, epoch)

        train_probes(probes, batches, self.steps)
        next(epochs, None)  # ends the progress
        return self._probe_row(recipe, probes.scores(test), truth)

    def _of_augmented(self, recipe: ProbeRecipe) -> dict[str, dict[str, float]]:
        """Train the probes of all networks on the same random parts of the images."""
        probes: dict[str, ParallelProbes] = {}
        total = recipe.epochs * self.steps
        what = f'batches of {recipe.epochs} epochs'
        steps = iter(self._tracked(range(total), total, what))
        for epoch in range(recipe.epochs):
            batches = self._batches('train', recipe.attentive, epoch)
            for number, (features, targets) in enumerate(batches):
                next(steps)
                for name, rows in features.items():
                    if name not in probes:
                        probes[name] = self._build(recipe, rows)
                    probes[name].step(rows, targets, epoch + number / self.steps)
        next(steps, None)  # ends the progress
        predicted: dict[str, list[list[Tensor]]] = {name: [] for name in probes}
        truth = []
        for features, labels in self._batches('test', recipe.attentive):
            truth.append(labels)
            for name, rows in features.items():
                predicted[name].append(probes[name].scores(rows))
        return {
            name: self._probe_row(
                recipe,
                [torch.cat(parts) for parts in zip(*found, strict=True)],
                torch.cat(truth),
            )
            for name, found in predicted.items()
        }

    def _build(self, recipe: ProbeRecipe, features: Tensor) -> ParallelProbes:
        """Probes of features such as these.

        Raises:
            InputError: they are not finite.
        """
        require_finite(features)
        width = features.shape[-1]
        heads = max(1, width // HEAD_WIDTH)
        return ParallelProbes(recipe, width, self.classes, heads, self.batch_size, self.device)

    def _probe_row(
        self, recipe: ProbeRecipe, scores: Sequence[Tensor], truth: Tensor
    ) -> dict[str, float]:
        """Scores by the learning rates with which the probe has not diverged."""
        found: dict[str, float] = {}
        for rate, rows in zip(recipe.rates, scores, strict=True):
            if not rows.isfinite().all():
                text = f'the probe has diverged with --rates {rate:g}, which gets no figure'
                print_log(text, 'current', logging.WARNING)
                continue
            for name, value in self._score(rows, truth).items():
                found[f'{name} at {rate:g}'] = value
        return found

    def _score(self, scores: Tensor, truth: Tensor) -> dict[str, float]:
        """The first is what the protocol reports."""
        if self.labeled.has_attributes:
            return _attribute_scores(scores, truth)
        return {'top-1': 100 * float((scores.argmax(1) == truth).double().mean())}


def _attribute_scores(scores: Tensor, truth: Tensor) -> dict[str, float]:
    """Return mA and F1 in percent; an attribute is predicted where its score is above 0."""
    predicted, wanted = (scores > 0).cpu().numpy(), (truth > 0.5).cpu().numpy()
    return {
        'mA': 100 * float(balanced_accuracies(predicted, wanted).mean()),
        'F1': 100 * image_scores(predicted, wanted)['F1'],
    }
