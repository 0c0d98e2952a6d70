import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile, RandomFlip
from PIL import Image

from saip.datasets.crops import DataError
from saip.downstream.part_segmentation import LIPParts, LoadPartLabels
from saip.errors import InputError

from .lip_files import SIZES, part_map, write_lip


@pytest.fixture
def lip(tmp_path):
    return write_lip(tmp_path / 'LIP')


def dataset(root, split='train', **options):
    return LIPParts(
        data_root=str(root),
        ann_file=f'{split}_id.txt',
        data_prefix=dict(img_path=f'{split}_images', seg_map_path=f'{split}_segmentations'),
        **options,
    )


def sample(root, split='train', index=0):
    pipeline = [LoadImageFromFile(), LoadPartLabels()]
    return dataset(root, split, pipeline=pipeline)[index]


@pytest.mark.parametrize('split', SIZES)
def test_reads_images_and_labels_in_the_order_of_the_list(lip, split):
    for index, size in enumerate(SIZES[split]):
        results = sample(lip, split, index)
        assert results['img'].shape == (*size, 3)
        assert np.array_equal(results['gt_seg_map'], part_map(*size, shift=index))
        assert results['img_path'].endswith(f'{split}_images/{100 + index}_{200 + index}.jpg')


def test_palette_files_hold_labels_not_colors(lip):
    path = lip / 'train_segmentations/100_200.png'
    image = Image.fromarray(part_map(60, 30), mode='P')
    image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768, np.uint8)))
    image.save(path)
    assert np.array_equal(sample(lip)['gt_seg_map'], part_map(60, 30))


def test_classes_are_those_of_lip(lip):
    classes = dataset(lip).metainfo['classes']
    assert len(classes) == 20
    assert classes[0] == 'Background'
    assert classes[13:16] == ('Face', 'Left-arm', 'Right-arm')


def test_flipping_swaps_left_and_right(lip):
    flip = RandomFlip(prob=1.0, swap_seg_labels=[(14, 15), (16, 17), (18, 19)])
    labels = np.array([[2, 14, 15, 255], [16, 17, 18, 19]], np.uint8)
    results = flip({'img': np.zeros((2, 4, 3), np.uint8), 'gt_seg_map': labels})
    assert results['gt_seg_map'].tolist() == [[255, 14, 15, 2], [18, 19, 16, 17]]


@pytest.mark.parametrize(
    ('gone', 'error'),
    [
        ('train_id.txt', 'train_id.txt: no such file'),
        ('train_images', 'train_images: no such folder'),
        ('train_segmentations', 'train_segmentations: no such folder'),
        ('train_images/101_201.jpg', 'train_images/101_201.jpg: no such file, and 1 of the 4'),
        (
            'train_segmentations/103_203.png',
            'train_segmentations/103_203.png: no such file, and 1 of',
        ),
    ],
)
def test_what_is_missing_is_named_with_the_layout(lip, gone, error):
    (lip / gone).rename(lip / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=rf'{error}.*train_images/\*\.jpg') as caught:
        dataset(lip)
    assert str(caught.value).startswith(str(lip / gone))


@pytest.mark.parametrize(
    ('text', 'error'), [('', 'names no image'), ('100_200\n\n101_201\n', 'line 2 is empty')]
)
def test_a_list_without_names_stops(lip, text, error):
    (lip / 'train_id.txt').write_text(text)
    with pytest.raises(DataError, match=f'train_id.txt: {error}.*LIP is a folder'):
        dataset(lip)


def test_names_with_their_ending_are_not_found(lip):
    (lip / 'train_id.txt').write_text('100_200.jpg\n')
    with pytest.raises(FileNotFoundError, match=r'100_200\.jpg\.jpg.*without their ending'):
        dataset(lip)


@pytest.mark.parametrize('label', [20, 254])
def test_a_part_out_of_range_stops(lip, label):
    labels = part_map(60, 30)
    labels[3, 4] = label
    path = lip / 'train_segmentations/100_200.png'
    Image.fromarray(labels).save(path)
    with pytest.raises(DataError, match=f'{path}: label {label}, 0 to 19 expected'):
        sample(lip)


@pytest.mark.parametrize('label', [256, 261, 511, 65535])
def test_a_label_of_sixteen_bits_is_not_cut_to_eight(lip, label):
    labels = part_map(60, 30).astype(np.uint16)
    labels[3, 4] = label
    path = lip / 'train_segmentations/100_200.png'
    Image.fromarray(labels).save(path)
    with pytest.raises(DataError, match=f'{path}: label {label}, 0 to 19 expected'):
        sample(lip)


def test_a_label_that_is_no_whole_number_stops(lip):
    labels = part_map(60, 30).astype(np.float32)
    labels[3, 4] = 2.5
    path = lip / 'train_segmentations/100_200.png'
    Image.fromarray(labels).save(path, format='TIFF')
    with pytest.raises(DataError, match=rf'{path}: label 2\.5, 0 to 19 expected'):
        sample(lip)


@pytest.mark.parametrize(('kind', 'form'), [(np.uint16, 'PNG'), (np.int32, 'TIFF')])
def test_wider_files_with_labels_in_range_are_read(lip, kind, form):
    labels = part_map(60, 30)
    labels[:3] = 255
    wide = Image.fromarray(labels.astype(kind))
    wide.save(lip / 'train_segmentations/100_200.png', format=form)
    found = sample(lip)['gt_seg_map']
    assert found.dtype == np.uint8
    assert np.array_equal(found, labels)


def test_other_classes_renumber_the_labels(lip):
    pipeline = [LoadImageFromFile(), LoadPartLabels()]
    some = dataset(lip, pipeline=pipeline, metainfo=dict(classes=('Background', 'Face')))
    truth = part_map(60, 30)
    expected = np.where(truth == 13, 1, np.where(truth == 0, 0, 255))
    assert np.array_equal(some[0]['gt_seg_map'], expected)


def test_a_background_that_is_to_be_dropped_stops(lip):
    pipeline = [LoadImageFromFile(), LoadPartLabels()]
    with pytest.raises(InputError, match='reduce_zero_label=True'):
        dataset(lip, pipeline=pipeline, reduce_zero_label=True)[0]


def test_255_is_a_pixel_to_ignore(lip):
    labels = part_map(60, 30)
    labels[:3] = 255
    Image.fromarray(labels).save(lip / 'train_segmentations/100_200.png')
    assert np.array_equal(sample(lip)['gt_seg_map'], labels)


def test_sizes_that_differ_stop(lip):
    path = lip / 'train_segmentations/100_200.png'
    Image.fromarray(part_map(60, 31)).save(path)
    with pytest.raises(
        DataError, match=rf'{path}: 31 x 60 pixels, but .*100_200\.jpg has 30 x 60'
    ):
        sample(lip)


def test_colors_instead_of_labels_stop(lip):
    path = lip / 'train_segmentations/100_200.png'
    Image.fromarray(np.zeros((60, 30, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=f'{path}: 3 channels; a label map has one'):
        sample(lip)


def test_a_damaged_label_map_is_named(lip):
    path = lip / 'train_segmentations/100_200.png'
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=f'{path}: not a readable PNG'):
        sample(lip)


def test_another_stands_in_for_a_damaged_image(lip):
    path = lip / 'train_images/100_200.jpg'
    path.write_bytes(b'no image')
    assert sample(lip)['img_path'] != str(path)
