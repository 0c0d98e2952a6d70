"""Features for evaluation, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder

Feature = Literal['image_token', 'patch_mean']
FEATURES = ('image_token', 'patch_mean')


def check_feature(feature: Any) -> Feature:
    """Return the name of a feature that evaluation can read.

    Raises:
        InputError: there is no such feature.
    """
    if feature not in FEATURES:
        raise InputError(f'model.feature={feature!r}: choose one of {", ".join(FEATURES)}')
    return feature


def read_feature(encoder: BaseEncoder, images: Tensor, feature: Feature) -> Tensor:
    """Encode (B, 3, H, W) images to (B, D) float32 features."""
    output = encoder.encode(images)
    if feature == 'image_token':
        return output.require_image_token().float()
    return output.require_patch_tokens().float().mean(1)


def predict_features(
    readers: Mapping[str, Callable[[Tensor], Tensor]],
    inputs: Tensor | dict[str, Tensor],
    data_samples: Mapping[str, Tensor],
) -> list[dict[str, Any]]:
    """Encode images, or several views of each.

    Args:
        readers: by the name of an encoder, (B, 3, H, W) images to (B, D) features.
        inputs: (B, 3, H, W) images, or views of each image by name.
        data_samples: what the data set says of each image, as (B,) tensors.

    Returns:
        Per image, by the names of the encoders, (D,) or (number of views, D) with a width D of
        their own; and the numbers of ``data_samples``.
    """
    single = not isinstance(inputs, dict)
    views = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    features = {
        name: torch.stack([read(view) for view in views], 1) for name, read in readers.items()
    }
    labels = {key: value.tolist() for key, value in data_samples.items() if value.ndim == 1}
    return [
        {name: x[i, 0] if single else x[i] for name, x in features.items()}
        | {key: values[i] for key, values in labels.items()}
        for i in range(len(views[0]))
    ]
