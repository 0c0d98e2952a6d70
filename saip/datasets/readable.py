"""Whether image files can be read, and what becomes of those that cannot.

In a training an image that cannot be read is named, another stands in for it, and
``saip.BadFilesHook`` counts it. A labeled set that is measured is looked at as a whole at the
start, and refused with the names of all such images: nothing that could stand in for one
leaves a metric as it is. To leave it out, or to count it as missed, makes the set easier for all
others that it could have been taken for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from mmengine.logging import print_log
from mmengine.structures import BaseDataElement

from saip.errors import one_line, printable

from .canvas import ImageError, check_complete, decode_image
from .crops import DataError

MAX_STAND_INS = 10
MAX_BAD = 0.01
"""Share of a training set's images that may be bad, as ``saip.BadFilesHook`` has it."""

SHOWN_NAMES = 10
STANDS_IN_FOR = 'stands_in_for'
"""Field of a sample of training that names the image that could not be read."""


def image_fault(path: str | os.PathLike[str], decode: bool = False) -> str:
    """Return why a file cannot be used as an image; nothing if it can.

    Args:
        path: of the file.
        decode: decode it in any case, which takes longer than to see whether it is complete.
    """
    try:
        if decode:
            decode_image(path)
        else:
            with open(path, 'rb') as file:
                check_complete(file.read())
    except (ImageError, OSError) as error:
        return one_line(error).removeprefix(f'{os.fspath(path)}: ')
    return ''


def require_readable(paths: Iterable[str | os.PathLike[str]], where: str) -> None:
    """Check all images of a set that is measured.

    Args:
        paths: of the images; repetitions are looked at once.
        where: the set, for messages.

    Raises:
        DataError: images cannot be read; the message names the first ``SHOWN_NAMES`` and counts
            the others, which are logged.
    """
    unique = list(dict.fromkeys(os.fspath(path) for path in paths))
    faults = [(path, fault) for path in unique if (fault := image_fault(path))]
    if not faults:
        return
    lines = [f'{printable(path)} ({fault})' for path, fault in faults]
    for line in lines[SHOWN_NAMES:]:
        print_log(f'{where}: cannot be read: {line}', 'current', logging.ERROR)
    more = f' and {len(lines) - SHOWN_NAMES} more, which the log names' * (
        len(lines) > SHOWN_NAMES
    )
    raise DataError(
        f'{where}: {len(faults)} of the {len(unique)} images to measure on cannot be read: '
        f'{", ".join(lines[:SHOWN_NAMES])}{more}; copy them again, for without them a metric is '
        'that of another set'
    )


class StandIns:
    """For data sets of the OpenMMLab libraries, before them in the list of bases.

    In training, an image that cannot be read is named in a warning, once in each worker process,
    and a sample of :meth:`stand_ins` is taken, whose ``data_samples`` then has the
    field ``stands_in_for``. With ``test_mode`` all images are looked at first.

    Raises:
        DataError: images of a test set cannot be read, or in training an image and all that could
            stand in for it.
    """

    test_mode: bool
    _fully_initialized: bool

    def full_init(self) -> None:
        """Read the annotations, and look at the images of a test set."""
        if self._fully_initialized:
            return
        super().full_init()  # type: ignore[misc]
        if self.test_mode:
            count = len(self)  # type: ignore[arg-type]
            paths = (path for index in range(count) for path in self._paths(index))
            require_readable(paths, type(self).__name__)

    def stand_ins(self, index: int) -> Iterator[int]:
        """Yield the samples that may stand in for one, here in growing distance."""
        for power in range(MAX_STAND_INS):
            yield (index + 2**power) % len(self)  # type: ignore[arg-type]

    def prepare_data(self, idx: int) -> Any:
        """Return what the pipeline makes of a sample, or of one that stands in for it."""
        asked = range(len(self))[idx]  # type: ignore[arg-type]
        if self.test_mode:
            return self._prepare(asked, complete=True)
        for position in chain((asked,), self.stand_ins(asked)):
            try:
                sample = self._prepare(position)
            except ImageError as error:
                self._name(str(error))
                continue
            if position != asked:
                _mark(sample, self._paths(asked)[0])
            return sample
        raise DataError(
            f'{self._paths(asked)[0]} and all images that could stand in for it cannot be read: '
            'is the folder still there?'
        )

    def _prepare(self, position: int, complete: bool = False) -> Any:
        """Apply the pipeline to a sample whose files can be read.

        Raises:
            ImageError: one cannot.
        """
        paths = self._paths(position)
        if not complete:
            self._check(paths, decode=False)
        try:
            return super().prepare_data(position)  # type: ignore[misc]
        except Exception:
            # The libraries raise errors of many types; other faults than those of files stay.
            self._check(paths, decode=True)
            raise

    @staticmethod
    def _check(paths: list[str], decode: bool) -> None:
        for path in paths:
            if fault := image_fault(path, decode):
                raise ImageError(f'{printable(path)}: {fault}')

    def _paths(self, index: int) -> list[str]:
        record = self.get_data_info(index)  # type: ignore[attr-defined]
        return [record['img_path']]

    def _name(self, text: str) -> None:
        named = self.__dict__.setdefault('_named', set())
        if text not in named:
            named.add(text)
            print_log(f'bad image replaced: {text}', 'current', logging.WARNING)


def _mark(sample: Any, path: str) -> None:
    described = sample.get('data_samples') if isinstance(sample, dict) else None
    if isinstance(described, BaseDataElement):
        described.set_metainfo({STANDS_IN_FOR: path})
