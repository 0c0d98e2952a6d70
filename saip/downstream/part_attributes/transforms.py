"""Transforms of images whose objects have attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
from mmdet.structures.mask import BitmapMasks

from saip.datasets.crops import DataError
from saip.datasets.fashionpedia import HUMAN, NUM_ATTRIBUTES
from saip.registry import TRANSFORMS

from .outlines import mask_of


@TRANSFORMS.register_module()
class LoadGarments(LoadAnnotations):
    """Boxes, labels, masks and attributes of the objects of :class:`saip.Fashionpedia`.

    ``gt_masks`` are ``BitmapMasks`` (N, h, w), that of the person all garments together;
    ``gt_attributes`` are (N, 294) bool. Comes after ``LoadImageFromFile``, with whose ``ori_shape``
    the size that the annotations state is compared.

    Raises:
        DataError: the image has another size.
    """

    def __init__(self) -> None:
        super().__init__(with_bbox=True, with_label=True, with_mask=True)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the annotations of an image."""
        results = super().transform(results)
        objects = results['instances']
        attributes = np.zeros((len(objects), NUM_ATTRIBUTES), bool)
        for row, one in enumerate(objects):
            attributes[row, list(one['attributes'])] = True
        results['gt_attributes'] = attributes
        return results

    def _load_masks(self, results: dict[str, Any]) -> None:
        height, width = results['ori_shape'][:2]
        if (height, width) != (results['height'], results['width']):
            raise DataError(
                f'{results["img_path"]}: {width} x {height} pixels, but its annotations are for '
                f'{results["width"]} x {results["height"]}'
            )
        together = np.zeros((height, width), np.uint8)
        masks = []
        for one in results['instances']:
            if one['bbox_label'] == HUMAN:
                masks.append(together)  # filled below, by reference
                continue
            masks.append(mask_of(one['mask'], (width, height)))
            if not one['ignore_flag']:
                together |= masks[-1]
        results['gt_masks'] = BitmapMasks(masks, height, width)


@TRANSFORMS.register_module()
class FilterGarments(BaseTransform):
    """Leaves out objects whose box is not larger than a pixel, with all that is known of them.

    mmdetection's ``FilterAnnotations`` does not know attributes, which would be those of others
    then. An image of which no garment is left is left out: another takes its place.
    """

    KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_ignore_flags', 'gt_attributes')

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Filter the objects of an image; None if no garment is left."""
        boxes = results['gt_bboxes']
        kept = ((boxes.widths > 1) & (boxes.heights > 1)).numpy()
        for key in self.KEYS:
            results[key] = results[key][kept]
        garments = (results['gt_bboxes_labels'] != HUMAN) & ~results['gt_ignore_flags']
        return results if garments.any() else None


@TRANSFORMS.register_module()
class PackGarments(PackDetInputs):
    """mmdetection's ``PackDetInputs``, which packs ``attributes`` (N, 294) bool, too.

    Those of crowds go with them into ``ignored_instances``. Arguments are the parent's.
    """

    mapping_table = PackDetInputs.mapping_table | {'gt_attributes': 'attributes'}
