"""Whether the values of annotations make sense together: ids that tell entries apart, boxes."""

from __future__ import annotations

import logging
from typing import TypeGuard

from mmengine.logging import print_log

from .crops import DataError

ENOUGH = 10
"""Of how many boxes one can say that most of them reach beyond their image."""


def is_id(value: object) -> TypeGuard[int | str]:
    """Whether a value can be an id: a whole number or a text."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def kind(value: int | str) -> str:
    """Return what an id is, in words for a message."""
    return 'a text' if isinstance(value, str) else 'a number'


class Identities:
    """Ids of the entries of a list, which must differ and be of one type.

    Args:
        where: the file, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.first: tuple[int | str, str] | None = None
        self.places: dict[int | str, str] = {}

    def add(self, identity: object, place: str) -> None:
        """Take the next entry, whose place in the file is said in words.

        Raises:
            DataError: it has no id, that of an earlier entry, or one of another type.
        """
        if not is_id(identity):
            raise DataError(
                f'{self.where}: {place} has the id {identity!r:.40}, neither a whole number '
                'nor a text'
            )
        if self.first is None:
            self.first = (identity, place)
        known, first = self.first
        if isinstance(identity, str) != isinstance(known, str):
            raise DataError(
                f'{self.where}: the id of {place} is {kind(identity)} ({identity!r:.40}), that '
                f'of {first} {kind(known)} ({known!r:.40})'
            )
        if self.places.setdefault(identity, place) != place:
            raise DataError(
                f'{self.where}: {self.places[identity]} and {place} have the same id '
                f'{identity!r:.40}'
            )


class BoxesInImages:
    """Counts boxes x, y, width, height that reach beyond their image.

    Corners in the place of sizes look like this, and so does the size of another image. Two
    pixels and two percent of the image are allowed for.

    Args:
        where: the file, for messages.
        name: of the field.
        may_leave: boxes of this kind rightly reach beyond the image, as those of whole people
            do whom its border cuts off. Only corners are noticed then.
    """

    def __init__(self, where: str, name: str = 'bbox', may_leave: bool = False) -> None:
        self.where, self.name, self.may_leave = where, name, may_leave
        self.total = self.beyond = self.corners = 0
        self.first = ''

    def add(
        self, box: tuple[float, float, float, float], size: tuple[int, int], place: str
    ) -> None:
        """Look at a box in an image of a size (width, height)."""
        x, y, width, height = box
        over_x, over_y = (2 + 0.02 * side for side in size)
        right, lower = size[0] + over_x, size[1] + over_y
        self.total += 1
        if min(x + over_x, y + over_y) >= 0 and x + width <= right and y + height <= lower:
            return
        self.beyond += 1
        self.corners += 0 <= x < width <= right and 0 <= y < height <= lower
        self.first = self.first or (
            f'{place}: {", ".join(f"{value:g}" for value in box)} in {size[0]}x{size[1]} pixels'
        )

    def judge(self, remedy: str = '') -> None:
        """Warn of boxes that reach beyond, if any.

        Args:
            remedy: what to do about corners, for the message.

        Raises:
            DataError: most do, of at least ``ENOUGH``, or of any number if they would lie
                inside as corners.
        """
        if not self.beyond:
            return
        text = (
            f'{self.where}: {self.beyond} of {self.total} boxes ({self.name}: x, y, width, '
            f'height) reach beyond their image, the first that of {self.first}'
        )
        if 2 * self.corners > self.total:
            raise DataError(
                f'{text}. As corners x0, y0, x1, y1 {self.corners} of them would lie inside: '
                f'{self.name} takes width and height{remedy}'
            )
        if self.may_leave:
            return
        if 2 * self.beyond > self.total >= ENOUGH:
            raise DataError(f'{text}. They do not belong to images of these sizes')
        print_log(text, logger='current', level=logging.WARNING)


class LandmarksInBoxes:
    """Counts people none of whose landmarks lies near their box.

    Landmarks in other units than the box, such as shares of the image, look like this. A box is
    taken twice as large in every direction, so that loose ones do not count.

    Args:
        where: the file, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.total = self.outside = 0
        self.first = ''

    def add(
        self, landmarks: list[float], box: tuple[float, float, float, float], place: str
    ) -> None:
        """Look at the landmarks x, y, visibility of a person."""
        left, top, width, height = box
        points = zip(landmarks[::3], landmarks[1::3], landmarks[2::3], strict=True)
        labeled = [(x, y) for x, y, flag in points if flag > 0]
        self.total += 1
        if not labeled or any(
            left - width <= x <= left + 2 * width and top - height <= y <= top + 2 * height
            for x, y in labeled
        ):
            return
        self.outside += 1
        x, y = labeled[0]
        self.first = (
            self.first or f'{place}: {x:g}, {y:g}, bbox {", ".join(f"{v:g}" for v in box)}'
        )

    def judge(self) -> None:
        """Warn of such people, if there are any.

        Raises:
            DataError: they are most.
        """
        if not self.outside:
            return
        text = (
            f'{self.where}: of {self.outside} of {self.total} people no landmark lies near the '
            f'bbox, the first {self.first}'
        )
        if 2 * self.outside > self.total:
            raise DataError(f'{text}. Landmarks and boxes are in pixels of one image')
        print_log(text, logger='current', level=logging.WARNING)
