"""Linear probes of body parts and keypoints on frozen encoders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from saip.datasets.annotated import BODY_PARTS, KeypointCrops, PartCrops
from saip.datasets.parallel import use_one_thread
from saip.evaluation.dense import (
    PCK_THRESHOLD,
    count_keypoints,
    count_pixels,
    enlarge_scores,
    mean_iou,
)
from saip.evaluation.probes import (
    LinearProbe,
    fit_patch_probe,
    fit_place_probe,
    patch_shares,
    place_targets,
    read_places,
)
from saip.experiments.frozen_eval import FrozenEncoder
from saip.structures import EncoderOutput, Grid

MIOU, PCK = 'parts mIoU', f'keypoints PCK@{PCK_THRESHOLD:g}'
_BATCH = 64


@dataclass(frozen=True)
class DenseData:
    """Where the annotations of the dense measures are.

    Attributes:
        parts: a folder in LIP's layout.
        keypoints: a folder in the layout of COCO.
    """

    parts: str
    keypoints: str


@dataclass(frozen=True)
class DenseScores:
    """What the probes reach, image by image.

    Attributes:
        pixels: (N, 3, C) of :func:`saip.evaluation.dense.count_pixels`.
        keypoints: (M, 2) of :func:`saip.evaluation.dense.count_keypoints`, of the images with
            annotated ones.
    """

    pixels: np.ndarray
    keypoints: np.ndarray

    def metrics(self) -> dict[str, float]:
        """``parts mIoU`` and ``keypoints PCK@0.1`` in percent."""
        annotated, found = self.keypoints.sum(axis=0)
        overlap = float(mean_iou(self.pixels.sum(axis=0)))
        return {MIOU: 100 * overlap, PCK: 100 * float(found) / float(annotated)}


class PlaceAlone(nn.Module):
    """An encoder whose patch tokens say nothing, so that a probe knows their places alone.

    What a dense feature must beat, since persons in their boxes stand alike.

    Args:
        grid: (h, w) patches.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def encode(self, images: Tensor) -> EncoderOutput:
        """Return the same tokens for every image; there is no image token."""
        tokens = images.new_zeros(len(images), self.grid[0] * self.grid[1], 1)
        return EncoderOutput(None, tokens, self.grid)


def evaluate_dense(
    encoder: FrozenEncoder,
    data: DenseData,
    preprocessor: nn.Module,
    size: tuple[int, int],
    device: str | torch.device,
    num_workers: int = 2,
) -> DenseScores:
    """Fit both probes on the training parts of the sets, and score them on the others.

    Final patch tokens are read, in float32 and eval mode. The probes are those of
    :mod:`saip.evaluation.probes`, the scores those of :mod:`saip.evaluation.dense`: scores of
    parts are enlarged to pixels before they are compared.

    Args:
        encoder: it has patch tokens.
        data: the annotations.
        preprocessor: normalizes images.
        size: (h, w) at which images are encoded.
        device: where to compute.
        num_workers: processes that read images.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: annotations are malformed, or tokens not finite.
    """
    device = torch.device(device)
    preprocessor.to(device).eval()
    encoder.to(device)
    encoder.eval()

    def read(dataset: Dataset) -> tuple[Tensor, dict[str, Tensor], Grid]:
        return _encode(encoder, dataset, preprocessor, device, num_workers)

    tokens, labels, grid = read(PartCrops(data.parts, 'train', size))
    shares = patch_shares(labels['parts'], len(BODY_PARTS), grid)
    probe = fit_patch_probe(tokens, shares)
    tokens, labels, _ = read(PartCrops(data.parts, 'val', size))
    pixels = _count_pixels(probe, tokens, labels['parts'], grid).cpu().numpy()

    tokens, labels, _ = read(KeypointCrops(data.keypoints, 'train', size))
    probe = fit_place_probe(tokens, place_targets(labels['points'], grid), labels['labeled'])
    tokens, labels, _ = read(KeypointCrops(data.keypoints, 'val', size))
    places = read_places(probe(tokens), grid)
    found = count_keypoints(places, labels['points'], labels['labeled'], labels['aspect'])
    return DenseScores(pixels, found[found[:, 0] > 0].cpu().numpy())


@torch.no_grad()
def _encode(
    encoder: FrozenEncoder,
    dataset: Dataset,
    preprocessor: nn.Module,
    device: torch.device,
    num_workers: int,
) -> tuple[Tensor, dict[str, Tensor], Grid]:
    """Return (N, L, D) patch tokens, the annotations, and the grid."""
    loader = DataLoader(dataset, _BATCH, num_workers=num_workers, worker_init_fn=use_one_thread)
    tokens: list[Tensor] = []
    labels: dict[str, list[Tensor]] = {}
    grid = (0, 0)
    for batch in loader:
        images = preprocessor({'image': batch.pop('image')}, False)['inputs']
        output = encoder.encode(images)
        tokens.append(output.require_patch_tokens().float())
        grid = output.grid
        for name, values in batch.items():
            labels.setdefault(name, []).append(values.to(device))
    return torch.cat(tokens), {name: torch.cat(parts) for name, parts in labels.items()}, grid


def _count_pixels(probe: LinearProbe, tokens: Tensor, parts: Tensor, grid: Grid) -> Tensor:
    """Count pixels, some images at a time: enlarged scores take much memory."""
    size = (parts.shape[1], parts.shape[2])
    return torch.cat(
        [
            count_pixels(enlarge_scores(probe(some), grid, size), truth, len(BODY_PARTS))
            for some, truth in zip(tokens.split(_BATCH), parts.split(_BATCH), strict=True)
        ]
    )
