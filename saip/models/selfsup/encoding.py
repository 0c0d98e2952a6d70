"""Encoding of all views of a step, each once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor, nn

from saip.models.backbones.base import BaseEncoder
from saip.structures import (
    EncodeRequest,
    EncoderOutput,
    Outputs,
    Relations,
    ViewFeatures,
    Views,
)


def encode_views(
    encoder: BaseEncoder, dense_norm: nn.Module, views: Views, inputs: dict[str, Outputs]
) -> dict[str, ViewFeatures]:
    """Encode the views that are needed, as far as they are needed.

    Views of equal size that go equally deep, of which equally many patches are visible and that
    all come with a condition or all without, share a batch, so that attention over them is one
    call as well.

    Args:
        encoder: the encoder.
        dense_norm: norm of the dense features.
        views: the views.
        inputs: what is read of each view.

    Returns:
        Features by view name.
    """
    groups: dict[tuple, list[str]] = defaultdict(list)
    for name, read in inputs.items():
        view = views[name]
        size = tuple(view.images.shape[-2:])
        depth = replace(read, dense=False)
        kept = None if view.mask is None else view.mask.keep.shape[1]
        condition = None if view.condition is None else tuple(view.condition.shape[1:])
        groups[(size, depth if depth != Outputs() else 'dense', kept, condition)].append(name)
    requests = [_request(names, views, inputs) for names in groups.values()]
    if not requests:
        return {}
    features: dict[str, ViewFeatures] = {}
    for names, answer in zip(groups.values(), encoder.encode_requests(requests), strict=True):
        if answer.dense is not None:
            answer = replace(answer, dense=_norm(answer.dense, dense_norm))
        lengths = [len(views[name].images) for name in names]
        features.update(zip(names, _split(answer, lengths), strict=True))
    return features


def _request(names: list[str], views: Views, inputs: dict[str, Outputs]) -> EncodeRequest:
    images = _joined([views[name].images for name in names])
    outputs = Outputs()
    for name in names:
        outputs = outputs | inputs[name]
    masks = [mask for name in names if (mask := views[name].mask) is not None]
    keep = _joined([mask.keep for mask in masks]) if masks else None
    conditions = [x for name in names if (x := views[name].condition) is not None]
    return EncodeRequest(images, outputs, keep, _joined(conditions) if conditions else None)


def _joined(parts: list[Tensor]) -> Tensor:
    """Rows of all; of one its own and no copy of them."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _norm(output: EncoderOutput, norm: nn.Module) -> EncoderOutput:
    return replace(
        output,
        image_token=norm(output.require_image_token()),
        patch_tokens=norm(output.require_patch_tokens()),
    )


def _split(features: ViewFeatures, lengths: list[int]) -> list[ViewFeatures]:
    """Take a shared batch apart again."""

    def parts(x: Tensor | None) -> list[Tensor | None]:
        return [None] * len(lengths) if x is None else list(x.split(lengths))

    def outputs(output: EncoderOutput | None) -> list[EncoderOutput | None]:
        if output is None:
            return [None] * len(lengths)
        pairs = zip(parts(output.image_token), parts(output.patch_tokens), strict=True)
        return [EncoderOutput(token, patches, output.grid) for token, patches in pairs]

    relations: list[Relations | None] = [None] * len(lengths)
    if features.relations is not None:
        relations = [
            Relations(qk, vv)
            for qk, vv in zip(
                features.relations.query_key.split(lengths),
                features.relations.value_value.split(lengths),
                strict=True,
            )
        ]
    return [
        ViewFeatures(final, dense, relation)
        for final, dense, relation in zip(
            outputs(features.final), outputs(features.dense), relations, strict=True
        )
    ]
