"""LUP1M, LUP2M and LUP4M: samples of LUPerson."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from ..manifest import MANIFEST_NAME, Entry
from ..sources import open_source
from ..verify import MIN_SIDE, other_files, verify, write_checked
from .report import Count

LUPERSON_SIZES = {'LUP1M': 1_284_228, 'LUP2M': 2_568_456, 'LUP4M': 4_180_243}
"""Images in each set (Table V of the paper)."""


def draw_rank(seed: int, path: str) -> bytes:
    """Return an image's place in the order in which a seed draws images."""
    text = f'{seed}/{path}'.encode('utf-8', 'surrogateescape')
    return blake2b(text, digest_size=16).digest()


def draw_order(entries: Iterable[Entry], seed: int) -> list[Entry]:
    """Put images in the order in which a seed draws them.

    The first n are a uniform sample of n images, and smaller samples are parts of larger
    ones. The order of two images depends on their paths alone, so images that are added or
    left out move no others.
    """
    return sorted(entries, key=lambda entry: draw_rank(seed, entry.crop.path))


def make_luperson(
    source: str,
    out: str,
    ann_file: str = '',
    seed: int = 0,
    sizes: dict[str, int] | None = None,
    min_side: int = MIN_SIDE,
    workers: int = 1,
) -> list[Count]:
    """Verify LUPerson once and write a manifest for each nested sample.

    Args:
        source: the folder or LMDB that holds LUPerson.
        out: folder in which ``LUP1M/saip_manifest.tsv`` and so on are written.
        ann_file: list of the images, relative to ``source``; empty takes all.
        seed: of the draw.
        sizes: images in each set, by name; by default those of the paper.
        min_side: smallest width and height of an image.
        workers: number of processes.

    Returns:
        For each set, how many images could be given to it.

    Raises:
        FileNotFoundError: the source is not there.
        DataError: it holds no image, or none that can be used.
    """
    sizes = LUPERSON_SIZES if sizes is None else sizes
    storage, crops, _ = open_source(source, ann_file)
    checked = verify(storage, crops, min_side, workers=workers)
    drawn = draw_order(checked.entries, seed)
    counts = []
    for name, size in sizes.items():
        sample = drawn[:size]
        place = Path(out) / name / MANIFEST_NAME
        passed_over = [] if ann_file else other_files(storage, place)
        write_checked(place, storage.root, sample, sorted(checked.rejected + passed_over))
        counts.append(Count(name, len(sample), len(sample), size))
    return counts
