"""Where images lie (a folder, an LMDB) and which of them make up a set (a listing)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from mmengine.logging import print_log

from saip.errors import MissingFileError

from .apart import ApartError, run_apart
from .canvas import ImageError, open_image, upright_size
from .coco import read_coco_persons
from .crops import Crop, DataError
from .files import read_text
from .manifest import MANIFEST_NAME, manifest_root, read_manifest_crops

IMAGE_SUFFIXES = frozenset(
    (
        *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp'),
        *('.tif', '.tiff', '.ppm', '.pgm', '.gif'),
    )
)
MAX_SUFFIXES = 10
"""Suffixes that a message counts."""

SIZES_COMPARED = 64


class Storage(Protocol):
    """A place that holds encoded images by name."""

    root: str

    def read(self, name: str) -> bytes:
        """Return one encoded image."""

    def scan(self) -> tuple[list[str], list[str]]:
        """Return the sorted names of the images, and of everything else."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that are not there."""


class FolderStorage:
    """Image files below a folder; names are paths relative to it, with forward slashes."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """Return the content of one file.

        Raises:
            OSError: it is not there or cannot be read.
        """
        with open(os.path.join(self.root, name), 'rb') as file:
            return file.read()

    def scan(self) -> tuple[list[str], list[str]]:
        """Walk all folders, through links too; names that begin with a dot are passed over.

        Raises:
            OSError: a folder cannot be listed.
        """
        images: list[str] = []
        others: list[str] = []
        visited = set()
        for folder, subfolders, files in os.walk(self.root, onerror=_give_up, followlinks=True):
            real = os.path.realpath(folder)
            if real in visited:
                subfolders.clear()
                continue
            visited.add(real)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith('.'))
            relative = Path(os.path.relpath(folder, self.root)).as_posix()
            prefix = '' if relative == '.' else relative + '/'
            for name in files:
                if not name.startswith('.'):
                    suffix = os.path.splitext(name)[1].lower()
                    (images if suffix in IMAGE_SUFFIXES else others).append(prefix + name)
        return sorted(images), sorted(others)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Compare names with folder listings: one call per folder, not one per file."""
        listings: dict[str, set[str]] = {}
        absent = []
        for name in names:
            folder, base = os.path.split(os.path.join(self.root, name))
            if folder not in listings:
                listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if base not in listings[folder]:
                absent.append(name)
        return absent


def _give_up(error: OSError) -> None:
    """Stop at a folder that cannot be listed; os.walk would pass over it in silence."""
    raise error


_environments: dict[str, tuple[int, Any]] = {}
"""Open LMDB environments by path, each with the process that opened it."""

_inspected: dict[str, tuple[int, int]] = {}
"""Size and time of the LMDB files that have been looked at, by path."""

MAX_INSPECTION = 600
"""Seconds that looking at the keys of an LMDB may take, in a process of its own."""

TOUCHED = 1 << 28
"""Bytes (256 MB) up to which the values of an LMDB are looked at, too."""


def _lmdb() -> Any:
    """Return the package ``lmdb``, which only these sets need.

    Raises:
        DataError: it is not installed.
    """
    try:
        import lmdb
    except ImportError:
        raise DataError('reading an LMDB needs `pip install lmdb`') from None
    return lmdb


def _value(transaction: Any, name: str) -> bytes | None:
    """Return the value of a key; None if there is none, or there cannot be one."""
    try:
        return transaction.get(name.encode('utf-8', 'surrogateescape'))
    except _lmdb().BadValsizeError:
        return None


class LmdbStorage:
    """Encoded images in an LMDB: UTF-8 keys are names, values the bytes of image files.

    Keys that begin with two underscores are bookkeeping and are passed over.

    LMDB trusts its file: a damaged one may end the process. So a copy of the process goes through
    all keys first, and of a file up to ``TOUCHED`` bytes through all values.

    Raises:
        DataError: the package ``lmdb`` is absent, or the LMDB is damaged.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.file = os.path.join(root, 'data.mdb') if os.path.isdir(root) else root
        try:
            state = os.stat(self.file)
        except OSError as error:
            raise DataError(f'{self.file}: not a readable LMDB ({error.strerror})') from error
        place, stamp = os.path.realpath(self.file), (state.st_size, state.st_mtime_ns)
        if _inspected.get(place) == stamp:
            return
        _lmdb()
        try:
            fault = run_apart(self._fault, MAX_INSPECTION)
        except ApartError as error:
            fault = str(error)
        if fault:
            raise DataError(f'{self.file}: not a readable LMDB ({fault})')
        _inspected[place] = stamp

    def _fault(self) -> str:
        """Return what is wrong with the structure of the LMDB; nothing if nothing is."""
        size = os.path.getsize(self.file)
        with self._begin(buffers=True) as transaction:
            environment = _environments[os.path.realpath(self.root)][1]
            facts, entries = environment.stat(), environment.stat()['entries']
            needed = (environment.info()['last_pgno'] + 1) * facts['psize']
            if size < needed:
                return f'{size:,} bytes of {needed:,}: cut off'
            count = 0
            for _, value in transaction.cursor():
                count += 1
                if count > entries or len(value) > size:
                    return f'its entry {count} does not fit: damaged'
                if size <= TOUCHED:
                    bytes(value)
        return '' if count == entries else f'{count} of {entries} entries: damaged'

    def _begin(self, buffers: bool = False) -> Any:
        """Start a read transaction, which copies nothing if it gives buffers.

        LMDB allows one environment per file and process, and none that a fork inherited: all
        storages of a process share it, and another process opens its own.

        Raises:
            DataError: the package ``lmdb`` is absent or the LMDB cannot be opened.
        """
        place = os.path.realpath(self.root)
        process, environment = _environments.get(place, (0, None))
        if process != os.getpid():
            if environment is not None:
                environment.close()
            environment = self._open()
            _environments[place] = (os.getpid(), environment)
        return environment.begin(buffers=buffers)

    def _open(self) -> Any:
        lmdb = _lmdb()
        folder = os.path.isdir(self.root)
        try:
            return lmdb.open(
                self.root, subdir=folder, readonly=True, lock=False, readahead=False
            )
        except lmdb.Error as error:
            raise DataError(f'{self.root}: not a readable LMDB ({error})') from error

    def read(self, name: str) -> bytes:
        """Return the value of one key.

        Raises:
            ImageError: there is no such key, or its place in the LMDB is damaged.
        """
        try:
            with self._begin() as transaction:
                value = _value(transaction, name)
        except _lmdb().Error as error:
            raise ImageError(f'key {name!r} in {self.root}: {error}') from error
        if value is None:
            raise ImageError(f'no key {name!r} in {self.root}')
        return value

    def scan(self) -> tuple[list[str], list[str]]:
        """Return all keys."""
        with self._begin() as transaction:
            keys = list(map(bytes, transaction.cursor().iternext(values=False)))
        names = [key.decode('utf-8', 'surrogateescape') for key in keys]
        return sorted(name for name in names if not name.startswith('__')), []

    def missing(self, names: Iterable[str]) -> list[str]:
        """Look every name up."""
        with self._begin() as transaction:
            return [name for name in names if _value(transaction, name) is None]


def open_storage(root: str) -> Storage:
    """Return the storage that lies at ``root``: an LMDB or a folder.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = Path(root)
    if (path.suffix == '.lmdb' and path.exists()) or (path / 'data.mdb').is_file():
        return LmdbStorage(str(root))
    if not path.is_dir():
        raise MissingFileError(f'no such folder of images: {root}')
    return FolderStorage(str(root))


def open_source(
    root: str, ann_file: str = '', prefix: str = ''
) -> tuple[Storage, list[Crop], str]:
    """Open a set of images.

    Args:
        root: the folder or LMDB.
        ann_file: what lists the set, relative to ``root``: ``.txt`` one relative path per line,
            ``.tsv`` a manifest, ``.json`` person boxes in COCO format; empty takes the
            ``saip_manifest.tsv`` in ``root`` if there is one, else all images below ``root``.
        prefix: where the images are, relative to ``root``; for a manifest, this replaces the
            place that it names.

    Returns:
        The storage, the samples in a fixed order, and a name for messages.

    Raises:
        FileNotFoundError: the folder, the list, or files that it names are not there.
        DataError: the listing is malformed or empty, or states other sizes than most images have.
    """
    listing = os.path.join(root, ann_file) if ann_file else os.path.join(root, MANIFEST_NAME)
    images = os.path.join(root, prefix) if prefix else root
    if not ann_file and not os.path.isfile(listing):
        storage = open_storage(images)
        return storage, _all_images(storage), images
    if not os.path.isfile(listing):
        raise MissingFileError(f'no such list of images: {listing}')
    suffix = Path(listing).suffix.lower()
    if suffix == '.tsv':
        stored_root, crops = read_manifest_crops(listing)
        where = images if prefix else manifest_root(listing, stored_root)
        return open_storage(where), crops, listing
    if suffix not in ('.txt', '.json'):
        raise DataError(f'{listing}: a list of images ends in .txt, .tsv or .json')
    storage = open_storage(images)
    sizes: dict[str, tuple[int, int]] = {}
    if suffix == '.txt':
        crops = read_list(listing)
    else:
        crops, sizes = read_coco_persons(listing)
    absent = storage.missing(dict.fromkeys(crop.path for crop in crops))
    if absent:
        raise MissingFileError(
            f'{listing} names {len(absent)} images that are not in {images}, first {absent[0]}'
        )
    _compare_sizes(storage, crops, sizes, listing)
    return storage, crops, listing


def _compare_sizes(
    storage: Storage, crops: list[Crop], sizes: Mapping[str, tuple[int, int]], listing: str
) -> None:
    """Compare some images, evenly spread, with the (width, height) that a listing states.

    Raises:
        DataError: most of them have other sizes, so that boxes cut out something else.
    """
    names = [name for name in dict.fromkeys(crop.path for crop in crops) if name in sizes]
    looked = names[:: max(1, len(names) // SIZES_COMPARED)][:SIZES_COMPARED]
    differing = []
    for name in looked:
        try:
            height, width = upright_size(open_image(storage.read(name)))
        except (ImageError, OSError):
            continue  # a bad image is named, and replaced, when it is its turn
        if (width, height) != sizes[name]:
            stated = 'x'.join(map(str, sizes[name]))
            differing.append(f'{name} has {width}x{height} pixels, not {stated}')
    if not differing:
        return
    text = (
        f'{listing}: {len(differing)} of {len(looked)} images that were looked at have another '
        f'size than it states, the first: {differing[0]}'
    )
    if 2 * len(differing) > len(looked):
        raise DataError(f'{text}. Its boxes belong to other images')
    print_log(text, 'current', logging.WARNING)


def _all_images(storage: Storage) -> list[Crop]:
    images, others = storage.scan()
    if not images:
        kinds = ' '.join(sorted(IMAGE_SUFFIXES))
        held = f'{len(others)} other files' if others else 'nothing'
        counts = f': {_by_suffix(others)}' if others else ''
        raise DataError(
            f'no image in {storage.root}: it holds {held} (looked for {kinds}){counts}'
        )
    if others:
        _tell(
            f'{storage.root}: {len(images):,} images are read, {len(others):,} other files are '
            f'not: {_by_suffix(others)}'
        )
    return [Crop(name) for name in images]


def _by_suffix(names: Iterable[str]) -> str:
    """Return how many files there are of each suffix, the most first."""
    counts = Counter(os.path.splitext(name)[1].lower() for name in names)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f'{count:,} {suffix or "without a suffix"}' for suffix, count in ordered]
    rest = sum(count for _, count in ordered[MAX_SUFFIXES:])
    return ', '.join(
        [*shown[:MAX_SUFFIXES], *([f'{rest:,} of other suffixes'] if rest else [])]
    )


@cache
def _tell(text: str) -> None:
    """Warn once: the training images and those that are held back are of one folder."""
    print_log(text, 'current', logging.WARNING)


def read_list(path: str | os.PathLike[str]) -> list[Crop]:
    """Read a list file: one path per line, relative to the root of the set.

    Raises:
        DataError: it is not UTF-8 text, or names nothing.
    """
    names = [line.strip().replace('\\', '/') for line in read_text(path).splitlines()]
    crops = [Crop(name) for name in names if name]
    if not crops:
        raise DataError(f'{path} lists no image')
    return crops
