"""ChimpACT: chimpanzees in videos, whose frames between the annotated ones have boxes alone."""

from __future__ import annotations

from typing import Any

from mmpose.datasets.datasets.base import BaseCocoStyleDataset

from saip.datasets.readable import StandIns
from saip.downstream.pose.checks import Layout, is_interpolated
from saip.downstream.pose.datasets import CheckedKeypoints
from saip.registry import DATASETS

_RIGHT, _LEFT, _MIDDLE = [255, 128, 0], [0, 255, 0], [51, 153, 255]  # as the library has COCO's
_LANDMARKS = {  # name: deviation of annotators, as a share of the chimpanzee's size
    'pelvis': 0.026,
    'right_knee': 0.083,
    'right_ankle': 0.089,
    'left_knee': 0.083,
    'left_ankle': 0.089,
    'neck': 0.026,
    'upper_lip': 0.026,
    'lower_lip': 0.026,
    'right_eye': 0.026,
    'left_eye': 0.026,
    'right_shoulder': 0.179,
    'right_elbow': 0.072,
    'right_wrist': 0.062,
    'left_shoulder': 0.179,
    'left_elbow': 0.072,
    'left_wrist': 0.062,
}
_BONES = (
    ('right_ankle', 'right_knee'),
    ('right_knee', 'pelvis'),
    ('pelvis', 'left_knee'),
    ('left_knee', 'left_ankle'),
    ('pelvis', 'neck'),
    ('neck', 'lower_lip'),
    ('lower_lip', 'upper_lip'),
    ('upper_lip', 'right_eye'),
    ('upper_lip', 'left_eye'),
    ('neck', 'right_shoulder'),
    ('right_shoulder', 'right_elbow'),
    ('right_elbow', 'right_wrist'),
    ('neck', 'left_shoulder'),
    ('left_shoulder', 'left_elbow'),
    ('left_elbow', 'left_wrist'),
)


def _color(*names: str) -> list[int]:
    sides = {'right': _RIGHT, 'left': _LEFT}
    return next((sides[side] for side in sides if any(side in n for n in names)), _MIDDLE)


def _mirrored(name: str) -> str:
    """The landmark on the other side; none for those in the middle."""
    side, _, part = name.partition('_')
    other = {'right': 'left', 'left': 'right'}.get(side)
    return f'{other}_{part}' if other else ''


def _metainfo() -> dict[str, Any]:
    """What mmpose wants to know of a set, in its form."""
    lower = ('pelvis', 'knee', 'ankle')
    return {
        'dataset_name': 'chimpact',
        'paper_info': {},
        'keypoint_info': {
            number: {
                'name': name,
                'id': number,
                'color': _color(name),
                'type': 'lower' if name.endswith(lower) else 'upper',
                'swap': _mirrored(name),
            }
            for number, name in enumerate(_LANDMARKS)
        },
        'skeleton_info': {
            number: {'link': bone, 'id': number, 'color': _color(*bone)}
            for number, bone in enumerate(_BONES)
        },
        'joint_weights': [1.0] * len(_LANDMARKS),
        'sigmas': list(_LANDMARKS.values()),
    }


@DATASETS.register_module()
class ChimpACT(StandIns, CheckedKeypoints, BaseCocoStyleDataset):
    """ChimpACT with 16 landmarks (Ma et al., 2023); see :class:`CheckedKeypoints`.

    Landmarks are annotated in one frame of ten, the key frames. The others have interpolated boxes
    and no landmarks: they are left out, and their images need not be there. Annotations state no
    number of landmarks; it is counted.
    """

    METAINFO: dict = _metainfo()
    layout = Layout(
        'ChimpACT is a folder with annotations/{train,val,test}.json and '
        '{train,val,test}/images/CLIP/000000.jpg, as its tools/create_coco_format.py writes it',
        {'keypoints': 16},
        key_frames=True,
    )

    def parse_data_info(self, raw_data_info: dict) -> dict | None:
        """Return the record of an annotation; None where its landmarks were not annotated."""
        row = raw_data_info['raw_ann_info']
        if is_interpolated(row):
            return None
        counted = {**row, 'num_keypoints': sum(flag > 0 for flag in row['keypoints'][2::3])}
        return super().parse_data_info({**raw_data_info, 'raw_ann_info': counted})
