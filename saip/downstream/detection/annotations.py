"""The lines of an ``.odgt`` file as mmdetection needs them, and what may be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saip.datasets.coco import read_box
from saip.datasets.crops import DataError
from saip.datasets.files import read_text
from saip.datasets.odgt import parse_odgt_line
from saip.errors import MissingFileError

LAYOUT = (
    'CrowdHuman is a folder with annotation_train.odgt, annotation_val.odgt and Images/ID.jpg; a '
    'line of the annotations is {"ID": ..., "gtboxes": [{"tag": "person" or "mask", "fbox": '
    '[x, y, width, height], "vbox": ..., "hbox": ..., "extra": {"ignore": 1, ...}}, ...]}'
)
TAGS = ('person', 'mask')
BOXES = ('fbox', 'vbox', 'hbox')
OBJECTS = ('extra', 'head_attr')
"""Keys of a box; mmdetection looks into both."""


def read_odgt(path: Path) -> list[dict[str, Any]]:
    """Return the record of each line; line n is record n - 1.

    Raises:
        DataError: a line is no record of this form, an ID comes twice, or there is no line.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {LAYOUT}')
    try:
        return _records(path)
    except DataError as error:
        raise DataError(f'{error}. {LAYOUT}') from error


def is_empty(box: dict[str, Any]) -> bool:
    """Whether a full box has no area."""
    return not (box['fbox'][2] > 0 and box['fbox'][3] > 0)


def _records(path: Path) -> list[dict[str, Any]]:
    records = []
    first: dict[str, int] = {}
    for number, line in enumerate(read_text(path).strip().split('\n'), 1):
        where = f'{path}, line {number}'
        record = parse_odgt_line(line, where)
        for position, box in enumerate(record['gtboxes'], 1):
            _check_box(box, f'{where}: box {position}')
        if first.setdefault(record['ID'], number) != number:
            raise DataError(
                f'{where}: ID {record["ID"]} is that of line {first[record["ID"]]}, too'
            )
        records.append(record)
    return records


def _check_box(box: dict[str, Any], where: str) -> None:
    if box.get('tag') not in TAGS:
        raise DataError(f'{where} has the tag {box.get("tag")!r}, neither of {", ".join(TAGS)}')
    for name in BOXES:
        read_box(box, name, where)
    for name in OBJECTS:
        if not isinstance(box.get(name, {}), dict):
            raise DataError(f'{where} has {name} {box[name]!r:.40}, not an object')
