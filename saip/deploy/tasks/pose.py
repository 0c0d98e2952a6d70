"""ViTPose: heatmaps decoded to coordinates in the graph.

Legend: B images, K keypoints, H and W of a heatmap.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saip.deploy.program import Output, Program, check_size, image_input
from saip.deploy.tasks.finetuned import Finetuned, names_of
from saip.errors import InputError
from saip.structures import Grid

PADDING = 1.25
"""The box of a person is enlarged by it before it is cut out, as in training."""

_LOWEST, _HIGHEST = 1e-3, 50.0
"""Range of a blurred heatmap before its logarithm is taken."""


class Keypoints(nn.Module):
    """A top-down pose estimator with mmpose's decoding of UDP heatmaps.

    The place of the maximum is refined by one Newton step on the logarithm of the blurred heatmap
    (Zhang et al., Distribution-Aware Coordinate Representation, 2020; Huang et al., UDP, 2020).
    There is no second pass over the mirror image.

    Args:
        model: mmpose's top-down estimator.
        size: (height, width) of the images.
        kernel: side of the blur.
    """

    model: Any
    blur: Tensor

    def __init__(self, model: Any, size: Grid, kernel: int) -> None:
        super().__init__()
        self.model = model
        self.size = size
        self.register_buffer('blur', gaussian(kernel), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) -> coordinates (B, K, 2) in pixels of the input, scores (B, K)."""
        heatmaps = self.model.head(self.model.extract_feat(images))
        height, width = heatmaps.shape[-2:]
        scores, index = heatmaps.flatten(2).max(-1)
        places = torch.stack([index % width, index // width], -1).to(heatmaps.dtype)
        places = places - _newton_step(self._logarithm(heatmaps), index)
        nowhere = scores[..., None] <= 0
        places = torch.where(nowhere, torch.full_like(places, -1.0), places)
        # From corner to corner of both grids: UDP's unit is the distance of pixels.
        scale = places.new_tensor([self.size[1] / (width - 1), self.size[0] / (height - 1)])
        return places * scale, scores

    def _logarithm(self, heatmaps: Tensor) -> Tensor:
        """Blur (B, K, H, W), bring every map back to its maximum, take the logarithm."""
        border = len(self.blur) // 2
        flat = heatmaps.flatten(0, 1)[:, None]
        blurred = F.conv2d(flat, self.blur.view(1, 1, 1, -1), padding=(0, border))
        blurred = F.conv2d(blurred, self.blur.view(1, 1, -1, 1), padding=(border, 0))
        highest = flat.amax((2, 3), keepdim=True) / blurred.amax((2, 3), keepdim=True)
        scaled = (blurred * highest).clamp(_LOWEST, _HIGHEST)
        return scaled.log()[:, 0].unflatten(0, heatmaps.shape[:2])


def gaussian(kernel: int) -> Tensor:
    """The weights that OpenCV gives a kernel whose deviation is left to it; (kernel,)."""
    deviation = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    places = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    weights = torch.exp(-(places**2) / (2 * deviation**2))
    return (weights / weights.sum()).float()


def _newton_step(surface: Tensor, index: Tensor) -> Tensor:
    """Inverse Hessian times gradient of (B, K, H, W) at flat places (B, K); (B, K, 2)."""
    width = surface.shape[-1] + 2
    padded = F.pad(surface, (1, 1, 1, 1), mode='replicate').flatten(2)
    column, row = index % (width - 2), index // (width - 2)
    middle = (row + 1) * width + column + 1

    def at(dx: int, dy: int) -> Tensor:
        return padded.gather(2, (middle + dy * width + dx)[..., None])[..., 0]

    here, right, left, below, above = at(0, 0), at(1, 0), at(-1, 0), at(0, 1), at(0, -1)
    dx, dy = 0.5 * (right - left), 0.5 * (below - above)
    dxy = 0.5 * (at(1, 1) - right - below + 2 * here - left - above + at(-1, -1))
    tiny = torch.finfo(torch.float32).eps
    dxx, dyy = right - 2 * here + left + tiny, below - 2 * here + above + tiny
    determinant = dxx * dyy - dxy * dxy
    x, y = dyy * dx - dxy * dy, dxx * dy - dxy * dx
    return torch.stack([x, y], -1) / determinant[..., None]


def pose_program(tuned: Finetuned, size: Grid | None) -> list[Program]:
    """Make the program of a pose estimator.

    Raises:
        InputError: its heatmaps are of a kind other than ViTPose's, or the size does not consist of
            whole patches.
    """
    codec = tuned.config['model']['head'].get('decoder') or {}
    if codec.get('type') != 'UDPHeatmap' or codec.get('heatmap_type', 'gaussian') != 'gaussian':
        raise InputError(
            f'pose: heatmaps of codec {codec.get("type")} cannot be decoded in the graph; '
            'UDPHeatmap of type gaussian (ViTPose) can'
        )
    width, height = codec['input_size']
    checked = check_size(size or (height, width), tuned.model.backbone.patch_stride)
    network = Keypoints(tuned.model, checked, codec.get('blur_kernel_size', 11))
    outputs = (
        Output('keypoints', 'x and y in pixels of the input', decoded=True),
        Output('scores', 'height of the maximum of the heatmap'),
    )
    inputs = image_input(checked, 'bilinear')
    about = {**_landmarks(tuned.dataset), 'padding': PADDING}
    return [Program('pose', tuned.from_pixels(network), inputs, outputs, about)]


def _landmarks(dataset: dict[str, Any]) -> dict[str, Any]:
    """Names of the keypoints and the pairs that a skeleton joins; None where not stated."""
    names = dataset.get('keypoint_id2name')
    links = dataset.get('skeleton_links')
    return {
        'keypoints': None if names is None else names_of(names[i] for i in sorted(names)),
        'skeleton': None if links is None else [[int(i) for i in pair] for pair in links],
    }
