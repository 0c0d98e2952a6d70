"""Images as sequences of patches, on rectangular grids."""

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.structures import Grid


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into flattened patches.

    Args:
        images: (B, C, h * patch, w * patch).
        patch: side of a patch in pixels.

    Returns:
        (B, h * w, patch * patch * C), patches in raster order, values ordered (row, column,
        channel).

    Raises:
        ValueError: the image is not a whole number of patches.
    """
    b, c, height, width = images.shape
    if height % patch or width % patch:
        raise ValueError(
            f'an image of {height}x{width} pixels cannot be cut into patches of {patch}x{patch}'
        )
    h, w = height // patch, width // patch
    x = images.reshape(b, c, h, patch, w, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, h * w, patch * patch * c)


def embed_patches(
    batches: list[Tensor], weight: Tensor, bias: Tensor
) -> list[tuple[Tensor, Grid]]:
    """Embed the patches of images of several sizes by one product.

    The values are those of a convolution whose kernels stand side by side.

    Args:
        batches: (b, C, h * patch, w * patch) images each.
        weight: (D, C, patch, patch) of the convolution.
        bias: (D,) of the convolution.

    Returns:
        (b, h * w, D) and (h, w) per batch, patches in raster order.
    """
    side = weight.shape[-1]
    rows = [_kernel_rows(images.to(weight.dtype), side) for images in batches]
    parts = F.linear(torch.cat(rows), weight.flatten(1), bias).split([len(x) for x in rows])
    grids = [(images.shape[2] // side, images.shape[3] // side) for images in batches]
    return [
        (part.view(-1, h * w, len(weight)), (h, w))
        for part, (h, w) in zip(parts, grids, strict=True)
    ]


def _kernel_rows(images: Tensor, side: int) -> Tensor:
    """(b, C, h * side, w * side) -> (b * h * w, C * side * side) pixels in a kernel's order."""
    patches = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(0, 2)
