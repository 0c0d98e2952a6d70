"""Images in an LMDB instead of a folder."""

import os
import pickle

import pytest
import torch

from saip.datasets import sources
from saip.datasets.crops import DataError
from saip.datasets.person_images import PersonImages


def test_lmdb_gives_what_the_folder_gives(folder, tmp_path):
    lmdb = pytest.importorskip('lmdb')
    whole = PersonImages(str(folder))
    store = tmp_path / 'set.lmdb'
    environment = lmdb.open(str(store), map_size=2**24)
    with environment.begin(write=True) as transaction:
        transaction.put(b'__len__', b'10')
        for index in range(10):
            name = whole.name(index)
            transaction.put(name.encode(), (folder / name).read_bytes())
    environment.close()
    dataset = PersonImages(str(store))
    assert len(dataset) == 10
    # Reading here first leaves an open environment to the worker's process.
    assert torch.equal(dataset[1]['canvas'], whole[1]['canvas'])
    loader = torch.utils.data.DataLoader(dataset, batch_size=5, num_workers=1)
    batch = next(iter(loader))
    assert torch.equal(batch['canvas'][4], whole[4]['canvas'])
    assert torch.equal(batch['key'][4], whole[4]['key'])
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[2]['canvas'], dataset[2]['canvas'])
    (tmp_path / 'list.txt').write_text(f'train/0000/000.jpg\nnothing.jpg\n{"long" * 200}\n')
    with pytest.raises(FileNotFoundError, match=r'2 images .*nothing\.jpg'):
        PersonImages(str(store), str(tmp_path / 'list.txt'))


def test_an_lmdb_that_went_bad_is_replaced_like_a_file(folder, tmp_path, monkeypatch):
    lmdb = pytest.importorskip('lmdb')
    names = PersonImages(str(folder)).storage.scan()[0]
    store = tmp_path / 'set.lmdb'
    environment = lmdb.open(str(store), map_size=2**24)
    with environment, environment.begin(write=True) as transaction:
        for name in names:
            transaction.put(name.encode(), (folder / name).read_bytes())
    dataset = PersonImages(str(store))
    read = sources._value

    def damaged(transaction, name):
        if name == names[2]:
            raise lmdb.CorruptedError('page')
        return read(transaction, name)

    monkeypatch.setattr(sources, '_value', damaged)
    assert [int(dataset[2][key]) for key in ('index', 'replaced')] == [3, 2]


def test_bad_lmdb(tmp_path):
    pytest.importorskip('lmdb')
    (tmp_path / 'data.mdb').write_bytes(b'not an LMDB')
    with pytest.raises(DataError, match='not a readable LMDB'):
        PersonImages(str(tmp_path))


def test_missing_lmdb_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'lmdb', None)
    (tmp_path / 'data.mdb').write_bytes(b'')
    with pytest.raises(DataError, match='pip install lmdb'):
        PersonImages(str(tmp_path))


def write_lmdb(folder, store):
    lmdb = pytest.importorskip('lmdb')
    names = PersonImages(str(folder)).storage.scan()[0]
    environment = lmdb.open(str(store), subdir=False, map_size=2**24)
    with environment, environment.begin(write=True) as transaction:
        for name in names:
            transaction.put(name.encode(), (folder / name).read_bytes() * 20)


def test_an_lmdb_that_was_cut_off_ends_no_process(folder, tmp_path):
    """Reading beyond the end of a mapped file ends a process by SIGBUS."""
    store = tmp_path / 'set.lmdb'
    write_lmdb(folder, store)
    content = store.read_bytes()
    for part in (0.9, 0.5, 0.2):
        store.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(DataError, match=r'set\.lmdb: not a readable LMDB \(.*: cut off\)'):
            PersonImages(str(store))
    store.write_bytes(content)
    assert len(PersonImages(str(store))) == 10


def test_an_lmdb_that_ends_its_reader_is_refused(folder, tmp_path, monkeypatch):
    store = tmp_path / 'set.lmdb'
    write_lmdb(folder, store)
    monkeypatch.setattr(sources.LmdbStorage, '_fault', lambda self: os.abort())
    with pytest.raises(DataError, match=r'set\.lmdb: .*ended the process .*\(SIGABRT\)'):
        PersonImages(str(store))
