"""HP1M: persons cut out of the training sets of seven public data sets (Table IX)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from saip.errors import MissingFileError

from ..crops import DataError
from ..sources import FolderStorage
from ..verify import MIN_SIDE, Rejected, verify, write_checked
from .hp1m_sources import SOURCES, Found
from .report import Count


def find_persons(root: Path, names: Sequence[str], workers: int) -> dict[str, Found]:
    """Read the boxes of several sources.

    Raises:
        FileNotFoundError: folders of sources are missing; all of them are named.
        DataError: a source is not one of the seven, or its annotations are malformed.
    """
    unknown = [name for name in names if name not in SOURCES]
    if unknown:
        raise DataError(f'no source {", ".join(unknown)}; there are {", ".join(SOURCES)}')
    if not root.is_dir():
        raise MissingFileError(f'no such folder: {root}')
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    absent = [name for name in names if name.lower() not in folders]
    if absent:
        raise MissingFileError(
            f'{root} has no folder {", ".join(absent)}; use --only to leave sources out'
        )
    return {name: SOURCES[name].read(folders[name.lower()], workers) for name in names}


def make_hp1m(
    root: str,
    out: str,
    only: Sequence[str] = (),
    min_side: int = MIN_SIDE,
    workers: int = 1,
) -> list[Count]:
    """Collect the boxes of the seven sources, verify their images and write one manifest.

    Args:
        root: the folder that holds ``AIC``, ``COCO`` ... (in capitals or not).
        out: the manifest to write.
        only: names of the sources to take; empty takes all seven.
        min_side: smallest width and height of a crop.
        workers: number of processes.

    Returns:
        One row for each source.

    Raises:
        FileNotFoundError: a source or a file of it is missing.
        DataError: the annotations of a source are malformed, or no image can be used.
    """
    base = Path(root)
    found = find_persons(base, list(only) or list(SOURCES), workers)
    crops = [crop for source in found.values() for crop in source.crops]
    checked = verify(FolderStorage(root), crops, min_side, workers=workers)
    failed = [item for source in found.values() for item in source.rejected]
    rejected: list[Rejected] = sorted(checked.rejected + failed)
    write_checked(out, root, checked.entries, rejected)
    written = Counter(entry.crop.path.split('/')[0].lower() for entry in checked.entries)
    return [
        Count(name, len(source.crops), written[name.lower()], SOURCES[name].expected)
        for name, source in found.items()
    ]
