"""COCO, COCO-WholeBody, HumanArt and AP-10K of mmpose, whose files are looked at first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init
from mmpose.datasets import AP10KDataset, CocoDataset, CocoWholeBodyDataset, HumanArtDataset
from mmpose.datasets.datasets.base import BaseCocoStyleDataset

from saip.datasets.coco import load_json
from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.datasets.readable import StandIns
from saip.downstream.pose.checks import Layout, check_annotations, check_detections
from saip.registry import DATASETS

_DETECTIONS = 'person_detection_results/*.json with the boxes of a person detector'


class CheckedKeypoints(BaseCocoStyleDataset):
    """Looks at annotations, detections and images before a data set of mmpose begins.

    Detections keep their categories, so that the metric compares each with its own; those of
    other categories than the annotations' people or animals are left out.

    Args:
        *args: options of mmpose's class.
        bbox_corners: whether the detections of ``bbox_file`` are corners x0, y0, x1, y1, as those
            published for HumanArt, instead of COCO's x, y, width, height.
        **kwargs: options of mmpose's class.

    Raises:
        FileNotFoundError: the annotations, the detections or an image is missing.
        DataError: one of these files is of another form or contradicts itself, none in it can
            be learned from, or an image that is read has another size than the file states.
    """

    layout: Layout

    def __init__(self, *args: Any, bbox_corners: bool = False, **kwargs: Any) -> None:
        self.bbox_corners = bbox_corners
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return a record per person, of the annotations or of the detections."""
        contents = check_annotations(Path(self.ann_file), self.layout, self.test_mode)
        if self.bbox_file:
            self._taken = check_detections(
                Path(self.bbox_file), contents, self.ann_file, self.layout, self.bbox_corners
            )
        records: list[dict] = super().load_data_list()
        if not records:
            raise DataError(
                f'{self.ann_file}: no image in it has an annotated person (or animal): one with '
                f'a box, num_keypoints above 0 and iscrowd 0. {self.layout.text}'
            )
        require_files((r['img_path'] for r in records), self.ann_file, self.layout.text)
        return records

    def parse_data_info(self, raw_data_info: dict) -> dict | None:
        """Return a record of mmpose's, with the size (height, width) that the file states."""
        record: dict | None = super().parse_data_info(raw_data_info)
        if record is not None:
            record['stated_size'] = _size(raw_data_info['raw_img_info'])
        return record

    def _load_detection_results(self) -> list[dict]:
        """Return a record per detection, as mmpose does but for the categories.

        mmpose takes those of category 1 and has the metric believe that all are.
        """
        document, rows = load_json(self.ann_file), load_json(str(self.bbox_file))
        assert isinstance(document, dict)  # which both checks have seen to
        assert isinstance(rows, list)
        images = {image['id']: image for image in document['images']}
        self._metainfo['CLASSES'] = document['categories']
        landmarks = self.metainfo['num_keypoints']
        records: list[dict] = []
        for row in rows:
            if row['category_id'] not in self._taken:
                continue
            image = images[row['image_id']]
            x, y, *far = np.array(row['bbox'], np.float32)
            right, lower = far if self.bbox_corners else (x + far[0], y + far[1])
            record = {
                'img_id': row['image_id'],
                'img_path': os.path.join(self.data_prefix['img'], image['file_name']),
                'img_shape': _size(image),
                'stated_size': _size(image),
                'bbox': np.array([[x, y, right, lower]]),
                'bbox_score': np.array([row['score']], np.float32),
                'keypoints': np.zeros((1, landmarks, 2), np.float32),
                'keypoints_visible': np.ones((1, landmarks), np.float32),
                'category_id': row['category_id'],
                'id': len(records),
            }
            records.append(record)
        return records

    @force_full_init
    def prepare_data(self, idx: int) -> Any:
        """Return what the pipeline makes of a record.

        Raises:
            DataError: the image has another size than the annotations state.
        """
        record = self.get_data_info(idx)
        path, stated = record['img_path'], record.get('stated_size')
        record['dataset'] = self  # as in the parent, for transforms that mix images
        packed = self.pipeline(record)
        sample = packed.get('data_samples') if isinstance(packed, dict) else None
        actual = None if sample is None else sample.metainfo.get('ori_shape')
        # Of a record with all people of an image there are as many sizes as people.
        if isinstance(stated, tuple) and actual is not None and tuple(actual) != stated:
            raise DataError(
                f'{path} has {actual[1]}x{actual[0]} pixels, but {self.ann_file} states '
                f'{stated[1]}x{stated[0]}: its boxes and landmarks belong to another image'
            )
        return packed


def _size(image: dict) -> tuple[int, int]:
    return int(image['height']), int(image['width'])


@DATASETS.register_module()
class CocoKeypoints(StandIns, CheckedKeypoints, CocoDataset):
    """COCO with 17 landmarks of people (Lin et al., 2014); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'COCO is a folder with train2017/*.jpg, val2017/*.jpg, '
        'annotations/person_keypoints_{train,val}2017.json and ' + _DETECTIONS,
        {'keypoints': 17},
    )


@DATASETS.register_module()
class CocoWholeBody(StandIns, CheckedKeypoints, CocoWholeBodyDataset):
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
        metric_category=1,
    )


@DATASETS.register_module()
class HumanArt(StandIns, CheckedKeypoints, HumanArtDataset):
    """HumanArt with 17 landmarks of people (Ju et al., 2023); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'HumanArt is a folder of this name with images/**/*.jpg and '
        'annotations/{training,validation}_humanart.json, whose file names begin with '
        'HumanArt/images; data_root is the folder above it',
        {'keypoints': 17},
    )


@DATASETS.register_module()
class AP10K(StandIns, CheckedKeypoints, AP10KDataset):
    """AP-10K, 17 landmarks of animals (Yu et al., 2021); see :class:`CheckedKeypoints`."""

    layout = Layout(
        'AP-10K is a folder with data/*.jpg and '
        'annotations/ap10k-{train,val,test}-split{1,2,3}.json',
        {'keypoints': 17},
        species=True,
    )
