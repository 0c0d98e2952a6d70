"""Class folders: what is read of them, and what is wrong with some."""

import shutil

import pytest

from saip.datasets.crops import DataError
from saip.datasets.labeled import read_classes
from saip.downstream.classification import ImageNet
from saip.errors import InputError
from saip.synthetic.formats import write_imagenet
from saip.synthetic.formats.imagenet import CLASSES


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp('drawn') / 'imagenet'
    write_imagenet(root)
    return root


@pytest.fixture
def root(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / 'imagenet')


def test_the_folder_of_an_image_is_its_class(drawn):
    names = [wnid for wnid, *_ in CLASSES]
    for split, count in (('train', 4), ('val', 2)):
        data = ImageNet(str(drawn), split)
        assert data.metainfo['classes'] == tuple(names)
        assert data.test_mode is (split == 'val')
        records = [data.get_data_info(i) for i in range(len(data))]
        assert [r['gt_label'] for r in records] == [i for i in range(8) for _ in range(count)]
        for record in records:
            assert f'/{split}/{names[record["gt_label"]]}/' in record['img_path']
    # The protocols of frozen features read the same labels of it.
    read = read_classes(drawn)
    val = [data.get_data_info(i) for i in range(len(data))]
    assert read.paths['test'] == [record['img_path'] for record in val]
    assert read.targets['test'].tolist() == [record['gt_label'] for record in val]


def test_images_of_val_without_classes_are_refused(root):
    for path in list((root / 'val').rglob('*.JPEG')):
        path.rename(root / 'val' / path.name)
    for folder in (root / 'val').iterdir():
        if folder.is_dir():
            folder.rmdir()
    with pytest.raises(DataError, match=r'/val: holds no class folders; sort its images'):
        ImageNet(str(root), 'train')


def test_other_layouts_are_named(root):
    with pytest.raises(InputError, match="split='test': choose one of train, val"):
        ImageNet(str(root), 'test')
    for path in (root / 'train/n02391049').iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r'/train/n02391049: holds no image'):
        ImageNet(str(root), 'train')
    assert len(ImageNet(str(root), 'val')) == 16
    (root / 'train/n02391049').rmdir()
    with pytest.raises(DataError, match=r'different classes, such as n02391049\. ImageNet is'):
        ImageNet(str(root), 'val')
    shutil.rmtree(root / 'val')
    with pytest.raises(FileNotFoundError, match=r'/val: no such folder\. ImageNet is'):
        ImageNet(str(root), 'train')
