"""Keypoint files from HAP's released poses: one ``.npy`` per image, named after it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from saip.errors import MissingFileError

from ..crops import Crop, DataError
from ..keypoint_places import check_places, check_units, known_boxes
from ..keypoints import SHAPE, write_keypoints
from ..parallel import parallel_map
from ..sources import open_source
from .keypoints import Converted
from .plain_pickle import read_object_array

SIZES_COMPARED = 1000
"""Images whose sizes are compared with their joints."""


def from_hap(
    poses: str | os.PathLike[str],
    data: str,
    out: str | os.PathLike[str],
    ann_file: str = '',
    workers: int = 1,
) -> Converted:
    """Write the keypoints of a set of whole images from HAP's files.

    A file ``NAME.npy`` belongs to the image whose file name without its suffix is NAME, in whatever
    folder it lies; its value ``[0][0]['keypoints']`` is (17, 3) x, y in pixels of the image and
    score. No pickle is executed, see :mod:`saip.datasets.converters.plain_pickle`.

    Args:
        poses: folder of HAP's files.
        data: folder or LMDB of the images.
        out: file to write.
        ann_file: list of the images, relative to ``data``.
        workers: processes that read.

    Returns:
        How many images have a file, and how many do not.

    Raises:
        DataError: two images have one name, no image has a file, a file is refused, or most joints
            are not in pixels of their images.
        FileNotFoundError: a folder is not there.
    """
    if not os.path.isdir(poses):
        raise MissingFileError(f'no such folder of .npy files: {poses}')
    storage, crops, where = open_source(data, ann_file)
    by_name: dict[str, Crop] = {}
    for crop in crops:
        other = by_name.setdefault(Path(crop.path).stem, crop)
        if other != crop:
            raise DataError(
                f'{where}: {other.path} and {crop.path} would have the same file of poses'
            )
    names = sorted(by_name.keys() & {Path(name).stem for name in _npy_files(poses)})
    if not names:
        raise DataError(
            f'{poses}: no file is named after one of the {len(crops):,} images of {where}'
        )
    found = parallel_map(partial(_read, folder=poses), names, workers, 'poses read')
    joints, whose = np.stack(found), [by_name[name] for name in names]
    check_units(joints, str(poses), lambda i: f'{names[i]}.npy')
    boxes = known_boxes(storage, whose, SIZES_COMPARED)
    if boxes:
        looked = list(boxes)
        check_places(
            joints[looked],
            list(boxes.values()),
            str(poses),
            lambda i: f'{names[looked[i]]}.npy',
        )
    write_keypoints(out, whose, joints)
    return Converted(len(names), len(crops) - len(names))


def _npy_files(folder: str | os.PathLike[str]) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith('.npy')]


def _read(name: str, folder: str | os.PathLike[str]) -> np.ndarray:
    path = Path(folder) / f'{name}.npy'
    try:
        value: Any = read_object_array(path.read_bytes())
        joints = np.array(value[0][0]['keypoints'], np.float64)
    except DataError as error:
        raise DataError(f'{path}: refused: {error}') from error
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: it has no [0][0]['keypoints'] ({type(error).__name__}: {error})"
        ) from error
    if joints.shape != SHAPE:
        raise DataError(
            f'{path}: keypoints of shape {joints.shape}, not {SHAPE}: 17 joints with x, y and score'
        )
    if not np.isfinite(joints).all():
        raise DataError(f'{path}: keypoints that are not finite')
    return joints
