"""The lines of an ``.odgt`` file, and what may be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saip.datasets.crops import DataError

LAYOUT = (
    'CrowdHuman is a folder with annotation_train.odgt, annotation_val.odgt and Images/ID.jpg; a '
    'line of the annotations is {"ID": ..., "gtboxes": [{"tag": "person" or "mask", "fbox": '
    '[x, y, width, height], "vbox": ..., "hbox": ..., "extra": {"ignore": 1, ...}}, ...]}'
)
TAGS = ('person', 'mask')
BOXES = ('fbox', 'vbox', 'hbox')


def read_odgt(path: Path) -> list[dict[str, Any]]:
    """Return the record of each line; line n is record n - 1.

    Raises:
        DataError: a line is no record of this form, an ID comes twice, or there is no line.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file. {LAYOUT}')
    records = []
    first: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').strip().split('\n'), 1):
        try:
            record = json.loads(line)
            wrong = _flaw(record)
        except json.JSONDecodeError as error:
            wrong = f'not JSON ({error})'
        if wrong is None and first.setdefault(record['ID'], number) != number:
            wrong = f'ID {record["ID"]} is that of line {first[record["ID"]]}, too'
        if wrong is not None:
            raise DataError(f'{path}, line {number}: {wrong}. {LAYOUT}')
        records.append(record)
    return records


def is_person(box: dict[str, Any]) -> bool:
    """Whether a box shows a person to find, not a region to ignore."""
    return box['tag'] == 'person' and not box.get('extra', {}).get('ignore', 0)


def is_empty(box: dict[str, Any]) -> bool:
    """Whether a full box has no area."""
    return not (box['fbox'][2] > 0 and box['fbox'][3] > 0)


def _flaw(record: Any) -> str | None:
    """Say what makes a record unreadable; None if nothing does."""
    if not isinstance(record, dict) or not isinstance(record.get('ID'), str):
        return 'no "ID"'
    boxes = record.get('gtboxes')
    if not isinstance(boxes, list):
        return 'no list "gtboxes"'
    for number, box in enumerate(boxes, 1):
        if not isinstance(box, dict) or box.get('tag') not in TAGS:
            tag = box.get('tag') if isinstance(box, dict) else box
            return f'box {number} has the tag {tag!r}, neither of {", ".join(TAGS)}'
        for name in BOXES:
            if not _is_box(box.get(name)):
                return f'box {number} has {name} {box.get(name)!r}, not four numbers'
    return None


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(number, int | float) for number in value)
    )
