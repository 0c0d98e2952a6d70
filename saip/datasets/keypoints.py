"""Keypoints of a data set in one file, keyed like its samples.

The file is an ``.npz`` without pickles: ``version`` (), ``keys`` (N,) int64, ascending, the keys
of the samples (see :func:`saip.datasets.crops.crop_key`), ``keypoints`` (N, 17, 3) float16: x, y
in pixels of the sample (of the box where the sample is one) and score from 0, of COCO's joints in
their order, and ``examples``, some of the samples' paths for messages.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from saip.errors import MissingFileError, one_line

from .crops import Crop, DataError, crop_key
from .files import check_output, write_atomic
from .keypoint_places import check_not_before, check_places, check_units, known_boxes
from .sources import SIZES_COMPARED, Storage

KEYPOINTS_NAME = 'saip_keypoints.npz'
VERSION = 1
JOINTS = (
    *('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear'),
    *(
        f'{side}_{joint}'
        for joint in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
        for side in ('left', 'right')
    ),
)
"""Of COCO, in their order."""

SHAPE = (len(JOINTS), 3)
"""Joints; x, y, score."""

MAX_PIXELS = float(np.finfo(np.float16).max)
"""Largest coordinate that a file can hold."""

REMEDY = 'make it by tools/dataset_converters/make_keypoints.py'
EXAMPLES = 3
SAMPLES_CHECKED = 100_000
"""Of a file, so that a large one is not copied."""

NPY_MAGIC = b'\x93NUMPY'
"""What an ``.npy`` file begins with."""


@dataclass(frozen=True)
class Keypoints:
    """Keypoints by the keys of samples.

    Attributes:
        path: of the file.
        keys: (N,) int64, ascending.
        values: (N, 17, 3) float16.
        examples: paths of some of the samples.
    """

    path: str
    keys: np.ndarray
    values: np.ndarray
    examples: tuple[str, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Keypoints:
        """Read and check a file.

        Raises:
            FileNotFoundError: there is none.
            DataError: it is no such file, what is in it has another shape, or joints cannot be in
                pixels of their samples.
        """
        if os.path.isdir(path):
            raise DataError(f'{path}: a folder and not a file of keypoints (.npz); {REMEDY}')
        if not os.path.isfile(path):
            raise MissingFileError(f'no such file of keypoints: {path}; {REMEDY}')
        found = _arrays(path)
        missing = sorted({'version', 'keys', 'keypoints', 'examples'} - set(found))
        if missing:
            raise DataError(
                f'{path}: not a file of keypoints, it has no {", ".join(missing)}; {REMEDY}'
            )
        version = found['version']
        if version.shape or version.dtype.kind not in 'iu' or int(version) != VERSION:
            raise DataError(
                f'{path}: keypoints of version {version.tolist()!r:.40}, not {VERSION}; {REMEDY}'
            )
        examples = tuple(str(name) for name in found['examples'].ravel())
        keypoints = cls(str(path), found['keys'], found['keypoints'], examples)
        keypoints._check()
        return keypoints

    def _check(self) -> None:
        if self.keys.ndim != 1 or self.keys.dtype != np.int64:
            raise DataError(
                f'{self.path}: keys are {self.keys.dtype} {self.keys.shape}, not one int64 per '
                'sample'
            )
        count = len(self.keys)
        if not count:
            raise DataError(f'{self.path}: keys are empty: it has keypoints of no sample')
        (wrong,) = (self.keys[1:] <= self.keys[:-1]).nonzero()
        if len(wrong):
            at, (one, other) = wrong[0], self.keys[wrong[0] : wrong[0] + 2]
            what = 'twice the same' if one == other else 'not sorted'
            raise DataError(
                f'{self.path}: keys are {what}, but have to be ascending: keys[{at}] is {one}, '
                f'keys[{at + 1}] {other}'
            )
        if self.values.shape != (count, *SHAPE) or self.values.dtype != np.float16:
            raise DataError(
                f'{self.path}: keypoints are {self.values.dtype} {self.values.shape}, not '
                f'float16 {(count, *SHAPE)}: 17 joints with x, y and score for each of its keys'
            )
        if not np.isfinite(self.values).all():
            raise DataError(f'{self.path}: keypoints that are not finite')
        step = max(1, count // SAMPLES_CHECKED)
        some = self.values[::step]
        for check in (check_units, check_not_before):
            check(some, self.path, lambda row: f'keypoints[{row * step}]')

    def check_samples(
        self, storage: Storage, crops: Sequence[Crop], keys: Sequence[int]
    ) -> None:
        """Compare some keypoints with the sizes of their samples.

        Args:
            storage: of the images.
            crops: samples of a data set.
            keys: of the samples.

        Raises:
            DataError: most labeled joints lie outside.
        """
        having = [crops[i] for i in (~self.lacks(keys)).nonzero()[0]]
        boxes = known_boxes(storage, having, SIZES_COMPARED)
        looked = [having[number] for number in boxes]
        if looked:
            joints = self.values[self._rows(map(crop_key, looked))].astype(np.float32)
            check_places(
                joints, list(boxes.values()), self.path, lambda i: looked[i].path, False
            )

    def _rows(self, keys: Iterable[int]) -> np.ndarray:
        """Row of each key; N for a key that is not there."""
        wanted = np.fromiter(keys, np.int64)
        rows = np.searchsorted(self.keys, wanted)
        found = self.keys[np.minimum(rows, len(self.keys) - 1)] == wanted
        return np.where(found, rows, len(self.keys))

    def lacks(self, keys: Iterable[int]) -> np.ndarray:
        """(N,) bool, whether a key has no keypoints."""
        return self._rows(keys) == len(self.keys)

    def count(self, keys: Iterable[int]) -> int:
        """Number of keys that have keypoints."""
        return int((~self.lacks(keys)).sum())

    def require_some(self, keys: Sequence[int], where: str) -> None:
        """Check that the file belongs to a data set.

        Args:
            keys: of all samples of the set.
            where: the set, for messages.

        Raises:
            DataError: no sample of the set is in the file.
        """
        if not self.count(keys):
            raise DataError(
                f'{self.path} has keypoints of {len(self.keys):,} samples (such as '
                f'{", ".join(self.examples)}), but of none of the {len(keys):,} of {where}: it '
                'was made for another folder, or for other boxes'
            )

    def of(self, key: int) -> np.ndarray:
        """(17, 3) float32 of a sample, NaN where the file has none."""
        row = int(self._rows([key])[0])
        if row == len(self.keys):
            return np.full(SHAPE, np.nan, np.float32)
        return self.values[row].astype(np.float32)


def _arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name.

    Raises:
        DataError: it is another file, or damaged.
    """
    where = f'{path}: not a file of keypoints (.npz)'
    if not zipfile.is_zipfile(path):
        with open(path, 'rb') as file:
            single = file.read(len(NPY_MAGIC)) == NPY_MAGIC
        what = 'a single array (.npy)' if single else 'no .npz archive, or a part of one'
        raise DataError(f'{where} but {what}; {REMEDY}')
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile and numpy raise what they happen upon in damaged bytes
        objects = 'allow_pickle' in str(error)  # numpy's advice is none for foreign files
        what = 'it holds Python objects, which are not read' if objects else one_line(error)
        raise DataError(f'{where}: {what}; {REMEDY}') from error
    others = sorted(name for name, value in found.items() if not isinstance(value, np.ndarray))
    if others:
        raise DataError(f'{where}: {others[0]} in it is no array; {REMEDY}')
    return found


def write_keypoints(
    path: str | os.PathLike[str], crops: Sequence[Crop], keypoints: np.ndarray
) -> None:
    """Write a file of keypoints.

    Args:
        path: of the file.
        crops: the samples, each once, in any order.
        keypoints: (N, 17, 3) x, y in pixels of the sample, score.

    Raises:
        DataError: there is no sample, one is there twice, or a value is not finite or too large
            for half precision.
        InputError: a folder is in the place of the file.
    """
    check_output(path)
    values = np.asarray(keypoints, np.float64)
    if values.shape != (len(crops), *SHAPE) or not len(crops):
        raise DataError(
            f'{path}: keypoints of shape {values.shape} for {len(crops)} samples; '
            f'{(len(crops), *SHAPE)} is needed, and one sample at least'
        )
    if not (np.abs(values) <= MAX_PIXELS).all():
        raise DataError(
            f'{path}: keypoints that are not finite or beyond {MAX_PIXELS:g} pixels'
        )
    keys = np.array([crop_key(crop) for crop in crops], np.int64)
    order = np.argsort(keys, kind='stable')
    (same,) = (np.diff(keys[order]) == 0).nonzero()
    if len(same):
        raise DataError(f'{path}: two entries of one sample, {crops[order[same[0]]]}')
    buffer = BytesIO()
    np.savez(
        buffer,
        version=np.array(VERSION),
        keys=keys[order],
        keypoints=values[order].astype(np.float16),
        examples=np.array(sorted(crop.path for crop in crops)[:EXAMPLES]),
    )
    write_atomic(Path(path), buffer.getvalue())
