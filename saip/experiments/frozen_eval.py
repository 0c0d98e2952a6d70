"""Evaluation of frozen networks: one pass over the images, one row of results per network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from saip.datasets.parallel import use_one_thread
from saip.datasets.progress import track
from saip.engine.explain import explained_worker
from saip.errors import InputError
from saip.evaluation.collapse import feature_spread
from saip.evaluation.features import normalize
from saip.evaluation.retrieval import score_retrieval
from saip.evaluation.two_view import two_view_recall
from saip.models.selfsup.predicting import Feature
from saip.structures import EncoderOutput

NOT_REPLACED = torch.tensor([-1])
LABELS = ('pid', 'camid', 'is_query')


class FrozenEncoder(Protocol):
    """What is asked of an encoder here; ``BaseEncoder`` and the baselines give it."""

    def encode(self, images: Tensor) -> EncoderOutput:
        """Encode normalized (B, 3, H, W) images."""

    def eval(self) -> Any:
        """Switch to evaluation."""

    def to(self, device: torch.device) -> Any:
        """Move to a device."""


def evaluate_frozen(
    encoders: Mapping[str, FrozenEncoder],
    dataset: Dataset,
    preprocessor: nn.Module,
    batch_size: int = 64,
    num_workers: int = 2,
    feature: Feature = 'image_token',
    device: str | torch.device | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compare encoders on one data set, in float32, without autocast and in eval mode.

    Labeled images (samples with ``image``, ``pid``, ``camid``, ``is_query``) are retrieved
    across cameras; of unlabeled ones (samples with ``canvas``) two views are drawn and one is
    searched with the other.

    Args:
        encoders: by the name of their row; each has ``encode(images) -> EncoderOutput``.
        dataset: a map-style data set of such samples.
        preprocessor: turns a batch into normalized images, as ``saip.ViewsPreprocessor`` does.
        batch_size: images per step.
        num_workers: processes that decode images.
        feature: what is read of a network: ``image_token`` or ``patch_mean``, the mean of the
            final patch tokens. Baselines that have no patch tokens give their image token.
        device: where to compute; the best one there is by default.
        progress: whether to write progress and time left to stderr.

    Returns:
        ``protocol`` ('retrieval' or 'two-view'), ``feature``, ``images``, for two-view recall
        ``chance``, and ``rows``: by name of the encoder ``Rank-1``, ``Rank-5``, ``Rank-10`` and
        ``mAP``, or ``recall@1``, all in percent, and ``feature_std``, ``feature_std_healthy``,
        ``effective_rank``, ``mean_cosine`` and ``dims``.

    Raises:
        ValueError: there is no encoder or no image, features are not finite, or no query has
            a match.
    """
    device = torch.device(device or get_device())
    features, labels = encode_frozen(
        encoders, dataset, preprocessor, batch_size, num_workers, feature, device, progress
    )
    images = len(next(iter(features.values())))
    about = {'feature': feature, 'images': images}
    if labels:
        rows = {name: _retrieval_row(f.to(device), labels) for name, f in features.items()}
        return {'protocol': 'retrieval', **about, 'rows': rows}
    rows = {name: _two_view_row(f.to(device)) for name, f in features.items()}
    return {'protocol': 'two-view', **about, 'chance': 100 / images, 'rows': rows}


def encode_frozen(
    encoders: Mapping[str, FrozenEncoder],
    dataset: Dataset,
    preprocessor: nn.Module,
    batch_size: int,
    num_workers: int,
    feature: Feature,
    device: torch.device,
    progress: bool,
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Encode all images; see :func:`evaluate_frozen` for the arguments.

    Returns:
        (N, V, D) features on the host by encoder, V views per image, and (N,) labels if there are
        any.

    Raises:
        ValueError: there is no encoder or no image.
    """
    if not encoders or not len(dataset):  # type: ignore[arg-type]
        raise InputError('nothing to evaluate: no encoder or no image')
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        pin_memory=device.type == 'cuda',
        worker_init_fn=use_one_thread,
    )
    preprocessor.to(device).eval()
    for encoder in encoders.values():
        encoder.to(device)
        encoder.eval()
    batches = track(loader, len(loader), 'encoding') if progress else loader
    with explained_worker(f'num_workers={num_workers} or batch_size={batch_size}'):
        return _encode_all(encoders, batches, preprocessor, feature)


@torch.inference_mode()
def _encode_all(
    encoders: Mapping[str, FrozenEncoder],
    batches: Iterable[dict[str, Tensor]],
    preprocessor: nn.Module,
    feature: Feature,
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Return (N, V, D) features by encoder, V views per image, and (N,) labels if any.

    An image that stands in for an unreadable one has a twin in the set and is left out.
    """
    features: dict[str, list[Tensor]] = {name: [] for name in encoders}
    labels: dict[str, list[Tensor]] = {}
    for batch in batches:
        if 'image' in batch:
            for name in LABELS:
                labels.setdefault(name, []).append(batch[name])
        original = batch.get('replaced', NOT_REPLACED) < 0
        inputs = preprocessor(batch, False)['inputs']
        views = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
        for name, encoder in encoders.items():
            rows = [read_output(encoder.encode(view), feature) for view in views]
            stacked = torch.stack(rows, dim=1).cpu()
            features[name].append(stacked[original.expand(len(stacked))])
    return (
        {name: torch.cat(parts) for name, parts in features.items()},
        {name: torch.cat(parts).numpy() for name, parts in labels.items()},
    )


def read_output(output: EncoderOutput, feature: Feature) -> Tensor:
    """(B, D) float32 feature; baselines without patch tokens give their image token."""
    if feature == 'patch_mean' and output.patch_tokens is not None:
        return output.patch_tokens.float().mean(1)
    return output.require_image_token().float()


def _retrieval_row(features: Tensor, labels: Mapping[str, np.ndarray]) -> dict[str, float]:
    features = normalize(features[:, 0])
    return {**score_retrieval(features, labels), **_spread_row(features)}


def _two_view_row(features: Tensor) -> dict[str, float]:
    first, second = normalize(features[:, 0]), normalize(features[:, 1])
    return {'recall@1': two_view_recall(first, second), **_spread_row(first)}


def _spread_row(features: Tensor) -> dict[str, float]:
    spread = feature_spread(features)
    return {
        'feature_std': spread.std,
        'feature_std_healthy': spread.healthy_std,
        'effective_rank': spread.effective_rank,
        'mean_cosine': spread.mean_cosine,
        'dims': spread.dims,
    }
