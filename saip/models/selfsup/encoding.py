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
    Need,
    Relations,
    ViewFeatures,
    Views,
)


def encode_views(
    encoder: BaseEncoder, pixel_norm: nn.Module, views: Views, needs: dict[str, Need]
) -> dict[str, ViewFeatures]:
    """Encode the views that are needed, as far as they are needed.

    Views of equal size that go equally deep and of which equally many patches are visible share a
    batch, so that attention over them is one call as well.

    Args:
        encoder: the encoder.
        pixel_norm: norm of the pixel features.
        views: the views.
        needs: what is read of each view.

    Returns:
        Features by view name.
    """
    groups: dict[tuple, list[str]] = defaultdict(list)
    for name, need in needs.items():
        view = views[name]
        size = tuple(view.images.shape[-2:])
        depth = replace(need, pixel=False)
        kept = None if view.mask is None else view.mask.keep.shape[1]
        groups[(size, depth if depth != Need() else 'pixel', kept)].append(name)
    requests = [_request(names, views, needs) for names in groups.values()]
    if not requests:
        return {}
    features: dict[str, ViewFeatures] = {}
    for names, answer in zip(groups.values(), encoder.encode_requests(requests), strict=True):
        if answer.pixel is not None:
            answer = replace(answer, pixel=_norm(answer.pixel, pixel_norm))
        lengths = [len(views[name].images) for name in names]
        features.update(zip(names, _split(answer, lengths), strict=True))
    return features


def _request(names: list[str], views: Views, needs: dict[str, Need]) -> EncodeRequest:
    images = torch.cat([views[name].images for name in names])
    need = Need()
    for name in names:
        need = need | needs[name]
    masks = [mask for name in names if (mask := views[name].mask) is not None]
    keep = torch.cat([mask.keep for mask in masks]) if masks else None
    return EncodeRequest(images, need, keep)


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
        ViewFeatures(final, pixel, relation)
        for final, pixel, relation in zip(
            outputs(features.final), outputs(features.pixel), relations, strict=True
        )
    ]
