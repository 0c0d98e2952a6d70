"""Images as sequences of patches, on rectangular grids."""

from itertools import accumulate

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
    patches = [_kernel_order(images, side) for images in batches]
    lengths = [b * h * w for b, h, w, *_ in (x.shape for x in patches)]
    rows = weight.new_empty(sum(lengths), weight[0].numel())
    # Gathered, cut and brought to the type of the weights by one copy.
    for x, last, length in zip(patches, accumulate(lengths), lengths, strict=True):
        rows[last - length : last].view(x.shape).copy_(x)
    parts = F.linear(rows, weight.flatten(1), bias).split(lengths)
    grids = [(x.shape[1], x.shape[2]) for x in patches]
    return [
        (part.view(-1, h * w, len(weight)), (h, w))
        for part, (h, w) in zip(parts, grids, strict=True)
    ]


def _kernel_order(images: Tensor, side: int) -> Tensor:
    """View (b, C, h * side, w * side) as (b, h, w, C, side, side): patches as kernels are."""
    patches = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return patches.permute(0, 2, 4, 1, 3, 5)
