"""Images as sequences of patches, on rectangular grids."""

from torch import Tensor


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
