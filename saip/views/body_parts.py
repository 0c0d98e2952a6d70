"""Parts of a body on a grid of patches, from 17 COCO keypoints (HAP, arXiv:2310.20695)."""

from __future__ import annotations

import numpy as np

from saip.structures import Grid
from saip.views.crop_draw import CropDraw

JOINTS = 17
"""Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right."""

PARTS: dict[str, tuple[tuple[int, int], ...]] = {
    'face': ((0, 1), (0, 2), (1, 2), (1, 3), (2, 4)),
    'left arm': ((5, 7), (7, 9)),
    'right arm': ((6, 8), (8, 10)),
    'left leg': ((11, 13), (13, 15)),
    'right leg': ((12, 14), (14, 16)),
    'upper body': ((6, 11), (5, 12)),
}
"""Bones of each part: pairs of joints."""

TEMPLATE = np.array(
    [
        *((0.5, 0.1), (0.54, 0.08), (0.46, 0.08), (0.59, 0.09), (0.41, 0.09)),
        *((0.69, 0.2), (0.31, 0.2), (0.76, 0.34), (0.24, 0.34), (0.78, 0.47), (0.22, 0.47)),
        *((0.61, 0.51), (0.39, 0.51), (0.6, 0.71), (0.4, 0.71), (0.6, 0.92), (0.4, 0.92)),
    ]
)
"""(17, 2) x and y of a person who stands upright and faces the camera, in shares of the image."""


def place_template(sizes: np.ndarray) -> np.ndarray:
    """(B, 17, 3) keypoints of the template in images of (B, 2) height and width, score 1."""
    places = TEMPLATE * sizes[:, None, ::-1]
    return np.concatenate([places, np.ones((len(sizes), JOINTS, 1))], axis=2)


def joint_cells(
    keypoints: np.ndarray, crop: CropDraw, grid: Grid, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches in which the joints of a crop lie.

    Whole numbers of a keypoint are the middles of pixels, as in COCO; a mirrored crop keeps left
    and right of the person, since a part of one side becomes no part of the other.

    Args:
        keypoints: (B, 17, 3) x, y and score in pixels of the original image.
        crop: one crop of every image, in the order of the batch.
        grid: (h, w) of the crop's patches.
        threshold: a joint counts if its score is above this.

    Returns:
        row, column and whether the joint counts, (B, 17) each; a joint outside of the crop does
        not count.
    """
    top, left, height, width = (side[:, None] for side in crop.box.T)
    x = (keypoints[..., 0] + 0.5 - left) / width
    y = (keypoints[..., 1] + 0.5 - top) / height
    x = np.where(crop.flip[:, None], 1 - x, x)
    with np.errstate(invalid='ignore'):  # an image without keypoints compares as not inside
        inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1) & (keypoints[..., 2] > threshold)
    row, column = np.where(inside, y, 0) * grid[0], np.where(inside, x, 0) * grid[1]
    return row.astype(np.int64), column.astype(np.int64), inside


def part_cells(
    rows: np.ndarray, columns: np.ndarray, seen: np.ndarray, grid: Grid
) -> np.ndarray:
    """Patches of each part: all in the boxes between the two joints of its bones.

    A bone with a joint that does not count has none.

    Args:
        rows: (B, 17) of the joints' patches.
        columns: (B, 17) of the joints' patches.
        seen: (B, 17) bool, whether the joint counts.
        grid: (h, w) of the patches.

    Returns:
        (B, 6, h * w) bool, in the order of ``PARTS``.
    """
    cells = []
    for part in PARTS.values():
        bones = np.array(part)
        counts = np.all(seen[:, bones], axis=2, keepdims=True)
        tall = _between(rows[:, bones], grid[0]) & counts
        wide = _between(columns[:, bones], grid[1])
        # (B, h, bones) @ (B, bones, w): in how many of the boxes a patch lies.
        boxes = tall.transpose(0, 2, 1).astype(np.float32) @ wide.astype(np.float32)
        cells.append(boxes.reshape(len(rows), -1) > 0)
    return np.stack(cells, axis=1)


def _between(ends: np.ndarray, length: int) -> np.ndarray:
    """(B, bones, 2) ends -> (B, bones, length) bool, both ends included."""
    places = np.arange(length)
    low, high = ends.min(axis=2)[..., None], ends.max(axis=2)[..., None]
    return (places >= low) & (places <= high)
