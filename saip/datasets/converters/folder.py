"""Any folder, list or LMDB of images, verified."""

from __future__ import annotations

from ..sources import open_source
from ..verify import MIN_SIDE, other_files, verify, write_checked
from .report import Count

IMAGENET_COUNT = 1_281_167
"""Images in the training set of ImageNet-1K."""


def make_manifest(
    source: str,
    out: str,
    ann_file: str = '',
    prefix: str = '',
    min_side: int = MIN_SIDE,
    workers: int = 1,
    name: str = 'images',
    expected: int | None = None,
) -> Count:
    """Verify all images of a source and write their manifest.

    Args:
        source: a folder or an LMDB.
        out: the manifest to write.
        ann_file: list (.txt) or boxes (.json) of the samples, relative to ``source``.
        prefix: where the images are, relative to ``source``.
        min_side: smallest width and height of a sample.
        workers: number of processes.
        name: of the set in the report.
        expected: the number of samples that the set should have, if it is known.

    Returns:
        The number of samples found and written.

    Raises:
        FileNotFoundError: the source is not there.
        DataError: the listing is malformed, or nothing in the source is usable.
    """
    storage, crops, _ = open_source(source, ann_file, prefix)
    checked = verify(storage, crops, min_side, workers=workers)
    passed_over = [] if ann_file else other_files(storage, out)
    write_checked(out, storage.root, checked.entries, sorted(checked.rejected + passed_over))
    return Count(name, len(crops), len(checked.entries), expected)
