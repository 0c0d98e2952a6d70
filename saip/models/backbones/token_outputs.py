"""What is read of the tokens of a plain encoder."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from saip.structures import EncodeRequest, EncoderOutput, Grid


def output_of(tokens: Tensor, grid: Grid) -> EncoderOutput:
    """Take (b, 1 + L, D) tokens apart; (b, 1, D) if only the image token was computed."""
    if tokens.shape[1] == 1:
        return EncoderOutput(tokens[:, 0], None, grid)
    # Split and not sliced: the gradients of both are joined by one operator.
    token, patches = tokens.split([1, tokens.shape[1] - 1], 1)
    return EncoderOutput(token[:, 0], patches, grid)


def reaches_the_end(request: EncodeRequest) -> bool:
    """Whether a request reads the tokens after the last block."""
    return (
        request.outputs.image_token or request.outputs.patch_tokens or request.outputs.relations
    )


def read_at_the_end(request: EncodeRequest) -> EncodeRequest:
    """Ask for final patch tokens where dense features are read, for a final feature level."""
    outputs = request.outputs
    if not outputs.dense:
        return request
    return replace(request, outputs=replace(outputs, image_token=True, patch_tokens=True))
