"""Features of images that an encoder saw before, for encoders that never change."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saip.models.backbones.base import BaseEncoder
from saip.models.selfsup.predicting import Feature, read_feature
from saip.views.random import uniforms

MEMORY = 512 * 2**20
"""Bytes of features that are kept at most: 170,000 of 768 channels."""

WORDS = 2
Key = tuple[Any, ...]


class KeptFeatures:
    """Encodes a batch of images only if one of them was not seen before.

    Every validation looks at the same images. An image is recognized by its content, not by its
    number: another data set, another size or another normalization cannot be taken for it. What
    does not fit into the memory is encoded every time; leaving out the last images and not the
    oldest serves those that come in the same order again.

    Args:
        memory: bytes of features to keep at most.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self.memory = memory
        self._features: dict[Key, Tensor] = {}
        self._used = 0

    def read(self, encoder: BaseEncoder, images: Tensor, feature: Feature) -> Tensor:
        """Features (B, D) in float32 of (B, 3, H, W) images, on their device.

        Args:
            encoder: the same in every call, with the same weights.
            images: normalized.
            feature: what is read of the encoder.
        """
        keys = self._keys(images, feature)
        known = [self._features[key] for key in keys if key in self._features]
        if len(known) == len(keys):
            return torch.stack(known).to(images.device)
        features = read_feature(encoder, images, feature)
        for key, row in zip(keys, features.cpu(), strict=True):
            size = row.nbytes
            if key not in self._features and self._used + size <= self.memory:
                self._features[key] = row.clone()  # and not a view of the whole batch
                self._used += size
        return features

    def _keys(self, images: Tensor, feature: Feature) -> list[Key]:
        """What a feature depends on; looks at the device once per batch."""
        kind = images.device.type
        precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        setting = (feature, tuple(images.shape[1:]), images.dtype, precision)
        return [(*row, *setting) for row in fingerprints(images).tolist()]


def fingerprints(images: Tensor) -> Tensor:
    """Numbers that tell images apart by their content.

    A sum of the values' bits with odd random weights, modulo 2^64, twice. Integers add up to the
    same in any order, so that the sum is exact on every device.

    Args:
        images: (B, 3, H, W).

    Returns:
        (B, 2) int64.
    """
    bits = images.detach().float().contiguous().flatten(1).view(torch.int32)
    weights = _weights(bits.shape[1]).to(images.device)
    return torch.stack([(bits * one).sum(1) for one in weights], 1)


@lru_cache(maxsize=8)
def _weights(length: int) -> Tensor:
    """(2, length) odd int64, the same in every process."""
    drawn = uniforms(0, 'fingerprint', np.arange(WORDS), 0, length)
    return torch.from_numpy((drawn * 2.0**53).astype(np.int64) * 1024 + 1)
