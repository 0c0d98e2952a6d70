"""Transforms of images with part labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import LoadAnnotations

from saip.datasets.label_maps import read_label_map
from saip.errors import InputError
from saip.registry import TRANSFORMS

from .affine import fit, warp_image, warp_labels

IGNORED = 255
"""Label of pixels that belong to no part, not even the background."""


@TRANSFORMS.register_module()
class LoadPartLabels(LoadAnnotations):
    """mmsegmentation's ``LoadAnnotations`` with a look at what was read.

    Comes after ``LoadImageFromFile``, with whose ``ori_shape`` the size is compared.

    Args:
        num_classes: number of labels, the background included.

    Raises:
        DataError: the file is no image, has colors instead of labels, a label out of range, or
            another size than the image.
    """

    def __init__(self, num_classes: int = 20) -> None:
        super().__init__(reduce_zero_label=None, imdecode_backend='pillow')
        self.num_classes = num_classes

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        path = results['seg_map_path']
        if results.get('reduce_zero_label'):
            raise InputError(
                'reduce_zero_label=True: label 0 is the background, one of the parts; remove it'
            )
        size = results['ori_shape'][:2]
        labels = read_label_map(path, self.num_classes, results['img_path'], size, IGNORED)
        results['gt_seg_map'] = _renumbered(labels, results.get('label_map'))
        results['seg_fields'].append('gt_seg_map')


def _renumbered(labels: np.ndarray, numbers: dict[int, int] | None) -> np.ndarray:
    """Give labels the numbers that a data set with other ``classes`` asks for."""
    table = np.arange(256, dtype=np.uint8)
    for old, new in (numbers or {}).items():
        table[old] = new
    return table[labels] if numbers else labels


@TRANSFORMS.register_module()
class PersonAffine(BaseTransform):
    """Fits the whole image into a crop, in training scaled and rotated at random, as SCHP does.

    The image's proportions are kept; outside it the crop is black and its label is 255. The box
    that is cropped has sides multiplied by a normal draw around 1, at most one standard deviation
    off; the rotation is a normal draw around 0, at most two standard deviations off. Without these
    arguments nothing is random. ``affine`` in the results is the (2, 3) matrix from the image
    to the crop; predictions go back through it, so ``PackSegInputs`` has to keep it.

    Args:
        size: (height, width) of the crop.
        scale_std: standard deviation of the factor on the box.
        rotation_std: standard deviation of the rotation in degrees.
        rotation_prob: probability of a rotation.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale_std: float = 0.0,
        rotation_std: float = 0.0,
        rotation_prob: float = 0.0,
    ) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.scale_std = scale_std
        self.rotation_std = rotation_std
        self.rotation_prob = rotation_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Warp ``img``, and ``gt_seg_map`` if it has been loaded before."""
        matrix = fit(results['img'].shape[:2], self.size, *self._draw())
        results['img'] = warp_image(results['img'], matrix, self.size)
        results['img_shape'] = self.size
        if 'gt_seg_map' in results:
            labels = results['gt_seg_map']
            results['gt_seg_map'] = warp_labels(labels, matrix, self.size, IGNORED)
        results['affine'] = matrix
        return results

    def _draw(self) -> tuple[float, float]:
        """Return the factor on the sides of the box, and the rotation in degrees."""
        off, turn = np.clip(np.random.randn(2), (-1, -2), (1, 2))  # noqa: NPY002 (mmcv's generator)
        rotated = np.random.rand() < self.rotation_prob  # noqa: NPY002
        return 1 + off * self.scale_std, turn * self.rotation_std if rotated else 0.0
