"""Image tokens for evaluation, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from saip.models.backbones.base import BaseEncoder


def predict_tokens(
    encoders: Mapping[str, BaseEncoder],
    inputs: Tensor | dict[str, Tensor],
    data_samples: Mapping[str, Tensor],
) -> list[dict[str, Any]]:
    """Encode pictures, or several views of each.

    Args:
        encoders: encoders by name.
        inputs: (B, 3, H, W) pictures, or views of each picture by name.
        data_samples: what the data set says of each picture, as (B,) tensors.

    Returns:
        Per picture, by the names of the encoders, (D,) or (number of views, D) with a width D of
        their own; and the numbers of ``data_samples``.
    """
    single = not isinstance(inputs, dict)
    views = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    features = {
        name: torch.stack(
            [encoder.encode(view).require_image_token().float() for view in views], 1
        )
        for name, encoder in encoders.items()
    }
    labels = {key: value.tolist() for key, value in data_samples.items() if value.ndim == 1}
    return [
        {name: x[i, 0] if single else x[i] for name, x in features.items()}
        | {key: values[i] for key, values in labels.items()}
        for i in range(len(views[0]))
    ]
