"""MATLAB files, compared with what scipy writes and reads."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saip.datasets import matlab
from saip.datasets.crops import DataError
from saip.datasets.matlab import read_mat

scipy_io = pytest.importorskip('scipy.io')
MATLABS = Path(scipy_io.__file__).parent / 'matlab/tests/data'
"""Files that MATLAB itself has written, big-endian ones among them."""


KINDS = ('u1', 'i1', 'u2', 'i2', 'u4', 'i4', 'u8', 'i8', 'f4', 'f8')


def cells(*items: Any) -> np.ndarray:
    column = np.empty((len(items), 1), object)
    column[:, 0] = items
    return column


CONTENT = {
    **{kind: np.arange(6).astype(kind).reshape(2, 3) for kind in KINDS},
    'cube': np.arange(24.0).reshape(2, 3, 4),
    'text': 'Skirt&Dress',
    'umlaut': 'Größe',
    'names': cells('000001.jpg', 'b', cells('inner', np.array([[1.5]]))),
}


@pytest.mark.parametrize('compressed', [False, True])
def test_it_reads_what_scipy_writes(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / 'a.mat'
    scipy_io.savemat(path, CONTENT, do_compression=compressed)
    found = read_mat(path, [*CONTENT, 'absent'])
    assert found.keys() == CONTENT.keys()
    for name in (*KINDS, 'cube'):
        np.testing.assert_array_equal(found[name], CONTENT[name])
    assert (found['text'], found['umlaut']) == ('Skirt&Dress', 'Größe')
    first, second, (inner, number) = found['names']
    assert (first, second, inner, number.tolist()) == ('000001.jpg', 'b', 'inner', [[1.5]])
    assert list(read_mat(path, ['text'])) == ['text']


def big_endian(name: bytes, numbers: list[int]) -> bytes:
    """A file as a big-endian machine writes it: one column of int16, by the format's own words."""
    content = struct.pack(f'>{len(numbers)}h', *numbers)
    body = struct.pack('>IIII', 6, 8, 10, 0)  # flags: class int16
    body += struct.pack('>IIii', 5, 8, len(numbers), 1)
    body += struct.pack('>HH', len(name), 1) + name.ljust(4, b'\0')  # a small element
    body += struct.pack('>II', 3, len(content)) + content + bytes(-len(content) % 8)
    return b'MATLAB 5.0'.ljust(124) + b'\x01\x00MI' + struct.pack('>II', 14, len(body)) + body


def test_it_reads_the_other_byte_order(tmp_path: Path) -> None:
    (tmp_path / 'a.mat').write_bytes(big_endian(b'abc', [1, -2, 300]))
    assert read_mat(tmp_path / 'a.mat', ['abc'])['abc'].tolist() == [[1], [-2], [300]]
    assert scipy_io.loadmat(tmp_path / 'a.mat')['abc'].tolist() == [[1], [-2], [300]]


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return bytes(124) + b'\x00\x01IM' + struct.pack('<II', 15, len(packed)) + packed


def matrix(flags: int, shape: tuple[int, int], rest: bytes) -> bytes:
    body = struct.pack('<IIII', 6, 8, flags, 0) + struct.pack('<IIii', 5, 8, *shape)
    body += struct.pack('<HH', 1, 1) + b'a\0\0\0' + rest
    return struct.pack('<II', 14, len(body)) + body


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'not a MATLAB file of version 5'),
        (b'\x89HDF\r\n\x1a\n' + bytes(200), 'version 7.3; save it with -v7'),
        (bytes(124) + b'\x00\x02IM', 'version 0x0200'),
        (bytes(124) + b'\x00\x01IM' + bytes(3), 'byte 128: it ends in the middle'),
        (compressed(matrix(1, (1 << 30, 1 << 30), b'')), 'variable a: .* cells in .* bytes'),
        (compressed(matrix(6, (-1, 2), b'')), r'byte 128: an array of the shape \(-1, 2\)'),
        (compressed(matrix(6, (1, 1), struct.pack('<II', 9, 1 << 31))), '2,147,483,648 bytes'),
        (compressed(matrix(2, (1, 1), b'')), 'variable a: an array of class 2'),
        (compressed(matrix(6, (3, 1), struct.pack('<IId', 9, 8, 1))), '8 bytes for float64 of'),
        (compressed(matrix(6, (1, 1), b''))[:-4], 'damaged|cut off|where'),
    ],
)
def test_a_damaged_file_is_named_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / 'a.mat').write_bytes(content)
    with pytest.raises(DataError, match=rf'a\.mat(, |: ).*({message})'):
        read_mat(tmp_path / 'a.mat', ['a'])


def test_little_that_unfolds_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, 'MAX_BYTES', 10_000)
    content = compressed(
        matrix(9, (1 << 20, 1), struct.pack('<II', 2, 1 << 20) + bytes(1 << 20))
    )
    (tmp_path / 'a.mat').write_bytes(content)
    with pytest.raises(DataError, match=r'byte 128: more than 10,000 bytes'):
        read_mat(tmp_path / 'a.mat', ['a'])


def test_cells_in_cells_have_an_end(tmp_path: Path) -> None:
    inner = matrix(9, (1, 1), struct.pack('<II', 2, 1) + bytes(8))
    for _ in range(20):
        inner = matrix(1, (1, 1), inner)
    (tmp_path / 'a.mat').write_bytes(bytes(124) + b'\x00\x01IM' + inner)
    with pytest.raises(DataError, match=r'variable a: cell 1: .*more than 8 deep'):
        read_mat(tmp_path / 'a.mat', ['a'])


def same(ours: Any, theirs: Any) -> bool:
    """Whether scipy reads the same; it has a text as an array of one, and cells as a table."""
    if isinstance(ours, str):
        return ours == (theirs.item() if theirs.size else '')
    if isinstance(ours, list):
        return len(ours) == theirs.size and all(map(same, ours, theirs.ravel(order='F')))
    return ours.shape == theirs.shape and bool((ours == theirs).all())


@pytest.mark.skipif(not MATLABS.is_dir(), reason="scipy comes without MATLAB's files here")
@pytest.mark.parametrize(
    'what', ['cell', 'cellnest', 'double', 'matrix', '3dmatrix', 'onechar']
)
def test_it_reads_what_matlab_has_written(what: str) -> None:
    paths = [path for path in MATLABS.glob(f'test{what}_*.mat') if '_4.2c_' not in path.name]
    assert len(paths) == 4
    for path in paths:
        theirs = scipy_io.loadmat(path)
        name = f'test{what}'
        assert same(read_mat(path, [name])[name], theirs[name]), path.name


@pytest.mark.skipif(not MATLABS.is_dir(), reason="scipy comes without MATLAB's files here")
def test_it_says_what_it_does_not_read() -> None:
    known = ('testsparse_7.4_GLNX86', 'testobject_7.4_GLNX86', 'testcomplex_7.4_GLNX86')
    for stem in known:
        with pytest.raises(DataError, match=f'{stem}.*, variable .*: an array of class'):
            read_mat(MATLABS / f'{stem}.mat', [stem.split('_')[0]])
    for stem in ('testhdf5_7.4_GLNX86', 'testmatrix_4.2c_SOL2'):
        with pytest.raises(DataError, match=rf'{stem}\.mat: '):
            read_mat(MATLABS / f'{stem}.mat', ['testmatrix'])
