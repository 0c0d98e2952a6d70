"""The program of a bare encoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saip.deploy.program import FromPixels, Output, Program, check_size, image_input
from saip.models.backbones import BaseEncoder
from saip.structures import Grid

RESIZE = 'bicubic'
"""How the evaluation of frozen features brings images to the size of an encoder."""


class EncoderOutputs(nn.Module):
    """All that an encoder says of images, from one pass."""

    def __init__(self, encoder: BaseEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.strides = tuple(encoder.map_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) -> image token (B, D), patch tokens (B, L, C), maps (B, C', h', w')."""
        output, maps = self.encoder.encode_with_maps(images, self.strides)
        return output.require_image_token(), output.require_patch_tokens(), *maps


def encoder_program(
    encoder: BaseEncoder, meta: dict[str, Any], size: Grid | None = None
) -> Program:
    """Make the program of an encoder.

    Args:
        encoder: in eval mode.
        meta: what :func:`saip.checkpoint.load_encoder` says of it.
        size: (height, width) of the images; None takes the one that it was trained at.

    Raises:
        InputError: the size does not consist of whole patches.
    """
    size = check_size(size or encoder.img_size, encoder.patch_stride)
    statistics = meta['statistics']
    network = FromPixels(EncoderOutputs(encoder), statistics['mean'], statistics['std'])
    strides = encoder.map_strides
    outputs = (
        Output('image_token', 'one vector per image, not normalized'),
        Output('patch_tokens', 'one vector per patch, row by row'),
        *(
            Output(f'map_{key}', f'feature map of stride {stride}')
            for key, stride in strides.items()
        ),
    )
    about = {
        'feature': meta['feature'],
        'statistics': statistics,
        **{key: meta.get(key) for key in ('which', 'preset', 'objectives', 'data', 'epoch')},
        'architecture': meta['architecture'],
    }
    if 'condition' in meta:
        about['condition'] = meta['condition']
    return Program('encoder', network.eval(), image_input(size, RESIZE), outputs, about)
