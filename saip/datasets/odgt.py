"""CrowdHuman's annotations (``.odgt``), one JSON document per line, checked as they are read."""

from __future__ import annotations

from typing import Any

from .coco import parse_json
from .crops import DataError


def parse_odgt_line(line: str, where: str) -> dict[str, Any]:
    """Return the record of a line: its ``ID`` is a text, its ``gtboxes`` a list of dicts.

    Raises:
        DataError: the line is no such record, or a mark to ignore a box is neither 0 nor 1.
    """
    record = parse_json(line, where)
    if not isinstance(record, dict):
        raise DataError(f'{where}: no object, but {record!r:.40}')
    name, boxes = record.get('ID'), record.get('gtboxes')
    if not isinstance(name, str) or not name or not isinstance(boxes, list):
        raise DataError(f'{where}: no "ID" or no list "gtboxes"')
    for number, box in enumerate(boxes, 1):
        if not isinstance(box, dict):
            raise DataError(f'{where}: box {number} is {box!r:.40}, not an object')
        _check_marks(box, f'{where}: box {number}')
    return record


def _check_marks(box: dict[str, Any], place: str) -> None:
    """Check the marks by which boxes are left out: a text '0' would leave one out, too."""
    for name in ('extra', 'head_attr'):
        marks = box.get(name)
        mark = marks.get('ignore', 0) if isinstance(marks, dict) else 0
        if not isinstance(mark, int) or mark not in (0, 1):
            raise DataError(f'{place} has {name}.ignore {mark!r:.40}, neither 0 nor 1')


def is_person(box: dict[str, Any]) -> bool:
    """Whether a box shows a person, not a region to ignore (crowds, statues, reflections)."""
    extra = box.get('extra')
    ignored = isinstance(extra, dict) and extra.get('ignore', 0) != 0
    return box.get('tag') == 'person' and not ignored
