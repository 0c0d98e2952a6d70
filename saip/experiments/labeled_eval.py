"""Evaluation of frozen networks by labels: k-NN, logistic regression, linear and attentive probes.

Shapes: N images, T tokens, D channels, C classes or attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor, nn
from torch.utils.data import DataLoader

from saip.datasets.labeled import LabeledImages, LabeledSet, Part, Size, read_classes
from saip.datasets.parallel import use_one_thread
from saip.datasets.progress import track
from saip.downstream.attributes.annotations import read_pa100k
from saip.downstream.attributes.metric import balanced_accuracies, image_scores
from saip.engine.explain import explained_worker
from saip.errors import InputError
from saip.evaluation.logistic import draw_labels, fit_best
from saip.evaluation.neighbors import NEIGHBORS, knn_accuracy, knn_scores
from saip.evaluation.probing import (
    RECIPES,
    ParallelProbes,
    ProbeRecipe,
    cached_batches,
    train_probes,
)
from saip.experiments.frozen_eval import FrozenEncoder
from saip.models.selfsup.predicting import Feature
from saip.structures import EncoderOutput

Protocol = Literal['knn', 'linear', 'linear-dino', 'linear-cached', 'attentive', 'lowshot']
PROTOCOLS = ('knn', 'linear', 'linear-dino', 'linear-cached', 'attentive', 'lowshot')
SHARES = (0.01, 0.05, 0.1, 1.0)
PA100K_FILE, PA100K_ATTRIBUTES = 'annotation.mat', 26
HEAD_WIDTH = 64


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
    seeds: int = 5
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

    ``knn``, ``lowshot`` and ``linear-cached`` encode every image once. ``linear``,
    ``linear-dino`` and ``attentive`` encode augmented images anew in every epoch and keep no more
    than a batch.

    Args:
        encoders: by the name of their row.
        labeled: the images.
        preprocessor: turns a batch into normalized images.
        protocol: one of ``PROTOCOLS``.
        settings: see :class:`LabeledSettings`.

    Returns:
        ``protocol``, ``feature``, ``images`` (to learn from), ``tested``, ``classes``, and
        ``rows``: by name of the encoder its scores in percent. A column is a number of neighbors,
        a share of the labels (``top-1`` and ``sd`` over the seeds), or a learning rate.

    Raises:
        InputError: there is no such protocol, or features are not finite.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f'--protocol {protocol}: choose one of {", ".join(PROTOCOLS)}')
    device = torch.device(settings.device or get_device())
    preprocessor.to(device).eval()
    rows = {}
    for name, encoder in encoders.items():
        encoder.to(device)
        encoder.eval()
        one = _Evaluation(encoder, labeled, preprocessor, settings, device)
        rows[name] = one.run(protocol)
    return {
        'protocol': protocol,
        'feature': 'all tokens' if protocol == 'attentive' else settings.feature,
        'images': len(labeled.paths['train']),
        'tested': len(labeled.paths['test']),
        'classes': len(labeled.names),
        'rows': rows,
    }


class _Evaluation:
    """One network on one set."""

    def __init__(
        self,
        encoder: FrozenEncoder,
        labeled: LabeledSet,
        preprocessor: nn.Module,
        settings: LabeledSettings,
        device: torch.device,
    ) -> None:
        self.encoder = encoder
        self.labeled = labeled
        self.preprocessor = preprocessor
        self.settings = settings
        self.device = device
        self.classes = len(labeled.names)

    def run(self, protocol: Protocol) -> dict[str, float]:
        """Scores by the names of their columns."""
        if protocol == 'knn':
            return self._knn()
        if protocol == 'lowshot':
            return self._lowshot()
        recipe = RECIPES['linear' if protocol == 'linear-cached' else protocol]
        epochs = self.settings.epochs or recipe.epochs
        recipe = replace(
            recipe,
            epochs=epochs,
            warm_up=min(recipe.warm_up, epochs // 2),
            rates=self.settings.rates or recipe.rates,
        )
        return self._probe(recipe, cached=protocol == 'linear-cached')

    # Reading

    def _read(self, output: EncoderOutput, attentive: bool) -> Tensor:
        """(B, T, D) of all tokens, or the (B, D) feature."""
        token, patches = output.image_token, output.patch_tokens
        if attentive:
            if patches is None:
                raise InputError('attentive probes read patch tokens, which this row has not')
            # Maps of convolutional networks may be of another width than their image token.
            joined = token is not None and token.shape[-1] == patches.shape[-1]
            parts = [token[:, None], patches] if joined and token is not None else [patches]
            return torch.cat(parts, 1).float()
        if self.settings.feature == 'patch_mean' and patches is not None:
            return patches.float().mean(1)
        return output.require_image_token().float()

    def _batches(
        self, part: Part, attentive: bool, epoch: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and targets: of whole images in order, or of an epoch's random parts."""
        augment = epoch is not None
        images = LabeledImages(self.labeled, part, self.settings.size, augment)
        images.set_epoch(epoch or 0)
        generator = torch.Generator().manual_seed(epoch or 0)
        loader = DataLoader(
            images,
            self.settings.batch_size,
            shuffle=augment,
            generator=generator,
            num_workers=self.settings.num_workers,
            drop_last=augment and len(images) >= self.settings.batch_size,
            worker_init_fn=use_one_thread,
        )
        what = f'{part} epoch {epoch}' if augment else part
        batches = track(loader, len(loader), what) if self.settings.progress else loader
        with explained_worker(f'--workers {self.settings.num_workers} or --batch-size'):
            for batch in batches:
                inputs = self.preprocessor({'image': batch['image']}, False)['inputs']
                with torch.no_grad():
                    features = self._read(self.encoder.encode(inputs), attentive)
                yield features, batch['target'].to(self.device)

    def _extract(self, part: Part) -> tuple[Tensor, Tensor]:
        """(N, D) features of whole images, and their targets."""
        pairs = list(self._batches(part, attentive=False))
        return torch.cat([f for f, _ in pairs]), torch.cat([t for _, t in pairs])

    # Protocols

    def _knn(self) -> dict[str, float]:
        train, targets = self._extract('train')
        test, truth = self._extract('test')
        if not self.labeled.has_attributes:
            found = knn_accuracy(train, targets, test, truth, NEIGHBORS)
            return {f'k={k}': value for k, value in found.items()}
        scores = knn_scores(train, targets, test, self.classes, NEIGHBORS)
        return {
            f'k={k} {name}': value
            for k, rows in scores.items()
            for name, value in _attribute_scores(rows - 0.5, truth).items()
        }

    def _lowshot(self) -> dict[str, float]:
        train, targets = self._extract('train')
        test, truth = self._extract('test')
        found: dict[str, float] = {}
        for share in SHARES:
            results: list[float] = []
            for seed in range(1 if share == 1 else self.settings.seeds):
                chosen = draw_labels(targets, share, seed).to(self.device)
                model = fit_best(train[chosen], targets[chosen], self.classes, seed)
                scored = self._score(model(test), truth)
                results.append(next(iter(scored.values())))
            found[f'{100 * share:g} %'] = float(np.mean(results))
            if len(results) > 1:
                found[f'{100 * share:g} % sd'] = float(np.std(results, ddof=1))
        return found

    def _probe(self, recipe: ProbeRecipe, cached: bool) -> dict[str, float]:
        attentive = recipe.attentive
        if cached:
            train, targets = self._extract('train')
            count = max(1, len(train) // self.settings.batch_size)
            width = train.shape[-1]
        else:
            images = len(self.labeled.paths['train'])
            count = max(1, images // self.settings.batch_size)
            width = next(self._first(attentive)).shape[-1]
        probes = ParallelProbes(
            recipe,
            width,
            self.classes,
            max(1, width // HEAD_WIDTH),
            min(self.settings.batch_size, len(self.labeled.paths['train'])),
            self.device,
        )

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            if cached:
                return cached_batches(train, targets, self.settings.batch_size, epoch)
            return self._batches('train', attentive, epoch)

        train_probes(probes, batches, count)
        predicted: list[list[Tensor]] = [[] for _ in recipe.rates]
        truth = []
        for features, labels in self._batches('test', attentive):
            truth.append(labels)
            for rows, scores in zip(predicted, probes.scores(features), strict=True):
                rows.append(scores)
        found: dict[str, float] = {}
        for rate, rows in zip(recipe.rates, predicted, strict=True):
            for name, value in self._score(torch.cat(rows), torch.cat(truth)).items():
                found[f'{name} at {rate:g}'] = value
        return found

    def _first(self, attentive: bool) -> Iterator[Tensor]:
        """Features of one image, which show the width."""
        sample = LabeledImages(self.labeled, 'train', self.settings.size)[0]
        images = self.preprocessor({'image': sample['image'][None]}, False)['inputs']
        with torch.no_grad():
            yield self._read(self.encoder.encode(images), attentive)

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
