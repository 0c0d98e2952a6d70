"""A few images and annotations in the public layout of CrowdHuman, written by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = list[int]


def box(fbox: Box, tag: str = 'person', ignore: int = 0) -> dict[str, Any]:
    """A line's box; full, visible and head box (x, y, width, height) are the same."""
    return dict(
        tag=tag, fbox=fbox, vbox=fbox, hbox=fbox, head_attr={}, extra=dict(ignore=ignore)
    )


def write_odgt(path: Path, records: dict[str, list[dict[str, Any]]]) -> Path:
    rows = [dict(ID=name, gtboxes=boxes) for name, boxes in records.items()]
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def write_image(path: Path, height: int = 100, width: int = 80, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(path, **options)


def write_set(root: Path, records: dict[str, list[dict[str, Any]]]) -> Path:
    """The same images for training and validation, 80 pixels wide and 100 high."""
    for name in records:
        write_image(root / 'Images' / f'{name}.jpg')
    for split in ('train', 'val'):
        write_odgt(root / f'annotation_{split}.odgt', records)
    return root


def two_images() -> dict[str, list[dict[str, Any]]]:
    """Two people, one of them to be ignored, and a region to ignore; then one person alone."""
    return {
        'a,1': [
            box([10, 20, 20, 40]),
            box([50, -5, 40, 90], ignore=1),
            box([0, 0, 80, 10], tag='mask'),
        ],
        'b,2': [box([30, 30, 20, 50])],
    }
