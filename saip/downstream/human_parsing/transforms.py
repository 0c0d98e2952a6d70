"""Transforms of images whose people have label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations, RandomFlip
from mmdet.structures.mask import BitmapMasks

from saip.datasets.cihp import MIRRORED, PARTS
from saip.datasets.label_maps import read_label_map
from saip.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadParsing(LoadAnnotations):
    """Boxes of people, and their label maps in the place of their masks.

    ``gt_masks`` are mmdetection's ``BitmapMasks`` (N, h, w) uint8 of labels, not of zeros and
    ones: its transforms resize, flip and pad them by the nearest pixel, which keeps labels. A
    crowd has zeros. Comes after ``LoadImageFromFile``, with whose ``ori_shape`` sizes are
    compared.

    Args:
        with_seg: load the labels of the whole image, too, as ``gt_seg_map``.

    Raises:
        FileNotFoundError: a file is missing.
        DataError: a file is no label map, has a label out of range, or another size than the
            image.
    """

    def __init__(self, with_seg: bool = False) -> None:
        super().__init__(with_bbox=True, with_label=True, with_mask=True, with_seg=with_seg)

    def _load_masks(self, results: dict[str, Any]) -> None:
        height, width = results['ori_shape'][:2]
        maps = [
            np.zeros((height, width), np.uint8)
            if person['parsing'] is None
            else self._read(person['parsing'], results)
            for person in results['instances']
        ]
        results['gt_masks'] = BitmapMasks(maps, height, width)

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        results['gt_seg_map'] = self._read(results['seg_map_path'], results)

    def _read(self, path: str, results: dict[str, Any]) -> np.ndarray:
        return read_label_map(path, len(PARTS), results['img_path'], results['ori_shape'][:2])


@TRANSFORMS.register_module()
class ParsingFlip(RandomFlip):
    """Mirrors image, boxes and label maps, in which left and right change places.

    Args:
        prob: probability of it.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob=prob, direction='horizontal')
        self.table = np.arange(len(PARTS), dtype=np.uint8)
        for one, other in MIRRORED:
            self.table[[one, other]] = other, one

    def _flip(self, results: dict[str, Any]) -> None:
        super()._flip(results)
        maps = results['gt_masks']
        results['gt_masks'] = BitmapMasks(self.table[maps.masks], maps.height, maps.width)
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = self.table[results['gt_seg_map']]
