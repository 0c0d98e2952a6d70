"""Reading the labels of a scene."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import LoadAnnotations

from saip.datasets.label_maps import read_label_map
from saip.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadSceneLabels(LoadAnnotations):
    """mmsegmentation's ``LoadAnnotations`` with a look at the file first.

    Comes after ``LoadImageFromFile``, with whose ``ori_shape`` the size is compared.

    Args:
        num_classes: labels are 0, which is ignored, to this number.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is no image, has colors instead of labels, a label out of range, or
            another size than the image.
    """

    def __init__(self, num_classes: int = 150) -> None:
        super().__init__()
        self.num_classes = num_classes

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        size = results['ori_shape'][:2]
        labels = self.num_classes + 1
        read_label_map(results['seg_map_path'], labels, results['img_path'], size)
        super()._load_seg_map(results)
