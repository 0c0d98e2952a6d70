"""COCO, COCO-WholeBody, HumanArt and AP-10K of mmpose, whose files are looked at first."""

from __future__ import annotations

from pathlib import Path

from mmpose.datasets import AP10KDataset, CocoDataset, CocoWholeBodyDataset, HumanArtDataset
from mmpose.datasets.datasets.base import BaseCocoStyleDataset

from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.downstream.pose.checks import Layout, check_annotations, check_detections
from saip.registry import DATASETS

_DETECTIONS = 'person_detection_results/*.json with the boxes of a person detector'


class CheckedKeypoints(BaseCocoStyleDataset):
    """Looks at annotations, detections and images before a data set of mmpose begins.

    The options are mmpose's.

    Raises:
        FileNotFoundError: the annotations, the detections or an image is missing.
        DataError: one of these files is of another form, or nobody in it can be learnt from.
    """

    layout: Layout

    def load_data_list(self) -> list[dict]:
        """Return a record per person, of the annotations or of the detections."""
        images = check_annotations(Path(self.ann_file), self.layout)
        if self.bbox_file:
            check_detections(Path(self.bbox_file), images, self.ann_file, self.layout)
        records: list[dict] = super().load_data_list()
        if not records:
            raise DataError(
                f'{self.ann_file}: no image in it has an annotated person (or animal): one with '
                f'a box, num_keypoints above 0 and iscrowd 0. {self.layout.text}'
            )
        require_files((r['img_path'] for r in records), self.ann_file, self.layout.text)
        return records


@DATASETS.register_module()
class CocoKeypoints(CheckedKeypoints, CocoDataset):
    """COCO with 17 landmarks of people (Lin et al., 2014); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'COCO is a folder with train2017/*.jpg, val2017/*.jpg, '
        'annotations/person_keypoints_{train,val}2017.json and ' + _DETECTIONS,
        {'keypoints': 17},
    )


@DATASETS.register_module()
class CocoWholeBody(CheckedKeypoints, CocoWholeBodyDataset):
    """COCO-WholeBody, 133 landmarks (Jin et al., 2020); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'COCO-WholeBody is the folder of COCO with train2017/*.jpg, val2017/*.jpg, '
        'annotations/coco_wholebody_{train,val}_v1.0.json and ' + _DETECTIONS,
        {
            'keypoints': 17,
            'foot_kpts': 6,
            'face_kpts': 68,
            'lefthand_kpts': 21,
            'righthand_kpts': 21,
        },
        also=('segmentation',),
    )


@DATASETS.register_module()
class HumanArt(CheckedKeypoints, HumanArtDataset):
    """HumanArt with 17 landmarks of people (Ju et al., 2023); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'HumanArt is a folder of this name with images/**/*.jpg and '
        'annotations/{training,validation}_humanart.json, whose file names begin with '
        'HumanArt/images; data_root is the folder above it',
        {'keypoints': 17},
    )


@DATASETS.register_module()
class AP10K(CheckedKeypoints, AP10KDataset):
    """AP-10K, 17 landmarks of animals (Yu et al., 2021); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'AP-10K is a folder with data/*.jpg and '
        'annotations/ap10k-{train,val,test}-split{1,2,3}.json',
        {'keypoints': 17},
    )
