"""PersonImages: sources, samples, held-back images, replacement, errors."""

import json
import os
from hashlib import blake2b

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import ConcatDataset
from mmengine.runner import Runner

from saip.datasets.canvas import ImageError, decode_image, to_canvas
from saip.datasets.coco import coco_persons
from saip.datasets.crops import Crop, DataError, clip_box, pack_crop, unpack_crop
from saip.datasets.person_images import MAX_HELD_BACK, PersonImages, held_back_paths
from saip.datasets.sources import IMAGE_SUFFIXES
from saip.registry import DATASETS
from tests.test_datasets.image_files import encode, fill, pixels
from tests.tiny import NO_REALDATA, REALDATA


def coco(images=(), annotations=(), categories=({'id': 1, 'name': 'person'},)):
    return {
        'images': list(images),
        'annotations': list(annotations),
        'categories': list(categories),
    }


def test_sample_contract(folder):
    dataset = DATASETS.build(dict(type='saip.PersonImages', data_root=str(folder)))
    sample = dataset[3]
    name = 'train/0000/006.jpg'
    assert dataset.name(3) == name
    image = decode_image(folder / name)
    assert torch.equal(sample['canvas'], to_canvas(image, (320, 160)))
    assert sample['size'].tolist() == [40, 30]
    digest = blake2b(name.encode(), digest_size=8).digest()
    assert int(sample['key']) == int.from_bytes(digest, 'big') >> 1
    assert int(sample['index']) == 3
    assert int(sample['replaced']) == -1
    assert {value.dtype for key, value in sample.items() if key != 'canvas'} == {torch.int64}


def test_folder_is_searched_in_a_fixed_order_through_links(folder, tmp_path):
    for name in ('notes.txt', '.hidden.jpg', 'train/thumbs.db'):
        (folder / name).write_bytes(b'x')
    os.symlink(folder, folder / 'train' / 'loop')
    fill(tmp_path / 'other', 2)
    os.symlink(tmp_path / 'other', folder / 'linked')
    dataset = PersonImages(str(folder))
    names = [dataset.name(index) for index in range(len(dataset))]
    assert names == sorted(names)
    assert len(names) == 12
    assert names[0] == 'linked/train/0000/000.jpg'


def test_keys_do_not_depend_on_order_or_root(folder, tmp_path):
    listing = tmp_path / 'some.txt'
    listing.write_text('train/0001/005.jpg\n\ntrain/0000/002.jpg\n')
    whole, some = PersonImages(str(folder)), PersonImages(str(folder), str(listing))
    keys = {whole.name(i): int(whole[i]['key']) for i in range(len(whole))}
    assert [some.name(i) for i in range(2)] == ['train/0001/005.jpg', 'train/0000/002.jpg']
    assert [int(some[i]['key']) for i in range(2)] == [keys[some.name(i)] for i in range(2)]
    assert len(set(keys.values())) == 10


def test_coco_boxes(folder):
    images = [{'id': 7, 'file_name': '0000/000.jpg', 'width': 30, 'height': 40}]
    boxes = [
        {'bbox': [2.6, 3.2, 10, 20], 'category_id': 1},
        {'bbox': [-5, 30, 20, 50], 'category_id': 1, 'iscrowd': 0},
        {'bbox': [0, 0, 30, 40], 'category_id': 1, 'iscrowd': 1},
        {'bbox': [0, 0, 30, 40], 'category_id': 2},
        {'bbox': [40, 0, 30, 40], 'category_id': 1},
    ]
    annotations = [{'id': i, 'image_id': 7, **box} for i, box in enumerate(boxes)]
    categories = [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'dog'}]
    (folder / 'boxes.json').write_text(json.dumps(coco(images, annotations, categories)))
    dataset = PersonImages(str(folder), 'boxes.json', 'train')
    assert [dataset.crop(i).box for i in range(len(dataset))] == [
        (0, 30, 15, 40),
        (2, 3, 13, 24),
    ]
    image = decode_image(folder / 'train/0000/000.jpg')
    assert torch.equal(dataset[1]['canvas'], to_canvas(image[3:24, 2:13], (320, 160)))
    assert dataset[1]['size'].tolist() == [21, 11]
    assert int(dataset[0]['key']) != int(dataset[1]['key'])


def test_mixture_and_batches(folder, tmp_path):
    fill(tmp_path / 'other', 4)
    parts = [
        dict(type='saip.PersonImages', data_root=str(p)) for p in (folder, tmp_path / 'other')
    ]
    loader = Runner.build_dataloader(
        dict(
            batch_size=7,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='ConcatDataset', datasets=parts),
        ),
        seed=0,
    )
    assert isinstance(loader.dataset, ConcatDataset)
    first, second = list(loader)
    assert first['canvas'].shape == (7, 3, 320, 160)
    assert first['size'].shape == (7, 2)
    assert second['index'].tolist() == [7, 8, 9, 0, 1, 2, 3]


def test_canvas_size(folder):
    assert PersonImages(str(folder), canvas=[64, 48])[0]['canvas'].shape == (3, 64, 48)
    for canvas in ((64,), (64, 0), (64.0, 32), (1, 2, 3)):
        with pytest.raises(ValueError, match='canvas is'):
            PersonImages(str(folder), canvas=canvas)


def test_holdout_splits_images_and_is_stable(folder):
    train = PersonImages(str(folder), holdout=3)
    held = PersonImages(str(folder), holdout=3, part='held_back')
    names = [{d.name(i) for i in range(len(d))} for d in (train, held)]
    assert len(names[0]) == 7
    assert len(names[1]) == 3
    assert not names[0] & names[1]
    # Another image may join the held-back ones, but cannot bring a training image there.
    fill(folder / 'more', 2)
    again = PersonImages(str(folder), holdout=3, part='held_back')
    assert not {again.name(i) for i in range(3)} & names[0]
    assert len(PersonImages(str(folder), holdout=0.25, part='held_back')) == 3
    # Recall needs two images to choose between.
    assert len(PersonImages(str(folder), holdout=0.01, part='held_back')) == 2


def test_holdout_rules():
    paths = [f'{number}.jpg' for number in range(20000)]
    assert len(held_back_paths(paths, 0.01)) == 200
    assert len(held_back_paths(paths, 0.5)) == MAX_HELD_BACK
    assert len(held_back_paths(paths, 5000)) == 5000
    # Boxes of one image are never divided.
    assert len(held_back_paths(paths[:4] * 10, 2)) == 2
    assert held_back_paths(paths[:9], 0.3) < held_back_paths(paths[:9], 5)
    assert held_back_paths(paths[:9], 5) == held_back_paths(paths[:9][::-1], 5)
    for holdout in (4, 5):
        with pytest.raises(DataError, match='both parts'):
            held_back_paths(paths[:4], holdout)
    with pytest.raises(DataError, match='holds back 2: both parts'):
        held_back_paths(paths[:2], 0.01)


def test_holdout_arguments(folder):
    with pytest.raises(ValueError, match='give a share'):
        PersonImages(str(folder), part='held_back')
    with pytest.raises(ValueError, match='train or held_back'):
        PersonImages(str(folder), part='test')


def test_bad_file_is_named_once_and_replaced(folder, monkeypatch):
    dataset = PersonImages(str(folder))
    (folder / dataset.name(4)).write_bytes(b'gone bad')
    (folder / dataset.name(5)).unlink()
    messages = []
    monkeypatch.setattr(
        'saip.datasets.person_images.print_log', lambda text, *rest: messages.append(text)
    )
    for _ in range(2):
        sample = dataset[4]
        # 4 -> 5 is missing too -> 6.
        assert int(sample['index']) == 6
        assert int(sample['replaced']) == 4
        assert int(sample['key']) == dataset.key(6)
        assert torch.equal(sample['canvas'], dataset[6]['canvas'])
    assert len(messages) == 2
    assert 'train/0000/008.jpg' in messages[0]
    assert 'not an image' in messages[0]
    assert 'train/0001/001.jpg' in messages[1]


def test_all_files_gone_is_an_error(folder):
    dataset = PersonImages(str(folder))
    for index in range(len(dataset)):
        (folder / dataset.name(index)).unlink()
    with pytest.raises(ImageError, match='still there'):
        dataset[0]
    with pytest.raises(IndexError):
        dataset[10]


def test_samples_are_packed_and_unpacked():
    crops = [Crop('a b/ü,\t1.jpg'), Crop('x', (0, 1, 20, 300)), Crop('bad\udcff.png')]
    assert [unpack_crop(pack_crop(crop)) for crop in crops] == crops


def test_positions_and_parts_of_a_set(folder):
    dataset = PersonImages(str(folder))
    names = [dataset.name(index) for index in range(10)]
    assert dataset.name(-1) == names[9]
    assert dataset.get_data_info(-2) == {'path': names[8], 'box': None, 'sample_idx': 8}
    assert [PersonImages(str(folder), indices=[7, 2]).name(i) for i in range(2)] == [
        names[7],
        names[2],
    ]
    assert len(PersonImages(str(folder), indices=4)) == 4
    assert dataset.get_subset([1, 5]).name(1) == names[5]
    lazy = PersonImages(str(folder), lazy_init=True)
    assert lazy.name(3) == names[3]


def test_a_list_with_a_byte_order_mark(folder):
    (folder / 'list.txt').write_bytes(b'\xef\xbb\xbftrain/0000/002.jpg\r\n')
    assert PersonImages(str(folder), 'list.txt').name(0) == 'train/0000/002.jpg'


@pytest.mark.parametrize('shape', [(1, 300), (300, 1), (1, 1), (50, 700)])
def test_images_of_any_shape(tmp_path, shape):
    (tmp_path / 'a.png').write_bytes(encode(pixels(*shape), 'PNG'))
    sample = PersonImages(str(tmp_path))[0]
    assert sample['canvas'].shape == (3, 320, 160)
    assert sample['size'].tolist() == list(shape)


def test_workers_that_stay_give_the_same_samples_in_every_epoch(folder):
    loader = torch.utils.data.DataLoader(
        PersonImages(str(folder)), batch_size=3, num_workers=2, persistent_workers=True
    )
    epochs = [[batch['canvas'] for batch in loader] for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [3, 3, 3, 1]
    assert all(torch.equal(a, b) for a, b in zip(*epochs, strict=True))


@pytest.mark.slow
def test_workers_that_are_spawned(folder):
    dataset = PersonImages(str(folder))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=10, num_workers=1, multiprocessing_context='spawn'
    )
    assert torch.equal(next(iter(loader))['canvas'][4], dataset[4]['canvas'])


def test_unknown_key_is_an_error(folder):
    with pytest.raises(TypeError, match='cnavas'):
        PersonImages(str(folder), cnavas=(320, 160))


def test_source_errors(tmp_path, folder):
    empty = tmp_path / 'empty'
    empty.mkdir()
    texts = tmp_path / 'texts'
    texts.mkdir()
    (texts / 'readme.md').write_text('x')
    (folder / 'missing.txt').write_text('train/0000/000.jpg\nnope/1.jpg\nnope/2.jpg\n')
    (folder / 'empty.txt').write_text('\n\n')
    (folder / 'binary.txt').write_bytes(bytes(range(128, 255)))
    (folder / 'list.csv').write_text('x')
    (folder / 'nobody.json').write_text(json.dumps(coco()))
    (folder / 'dogs.json').write_text(json.dumps(coco(categories=[{'id': 1, 'name': 'dog'}])))
    (folder / 'broken.json').write_text('{"images": [')
    cases = [
        (tmp_path / 'nowhere', '', FileNotFoundError, 'no such folder of images: .*nowhere'),
        (empty, '', DataError, 'it holds nothing'),
        (texts, '', DataError, '1 other files .*jpg'),
        (folder, 'absent.txt', FileNotFoundError, 'no such list of images: .*absent.txt'),
        (folder, 'missing.txt', FileNotFoundError, 'names 2 images .*first nope/1.jpg'),
        (folder, 'empty.txt', DataError, 'lists no image'),
        (folder, 'binary.txt', DataError, 'not UTF-8 text'),
        (folder, 'list.csv', DataError, 'ends in .txt, .tsv or .json'),
        (folder, 'nobody.json', DataError, 'no box of a person'),
        (folder, 'dogs.json', DataError, r'no category person \(categories: dog\)'),
        (folder, 'broken.json', DataError, 'broken.json: not JSON'),
    ]
    for root, listing, kind, pattern in cases:
        with pytest.raises(kind, match=pattern) as caught:
            PersonImages(str(root), listing)
        assert '\n' not in str(caught.value)


def test_clip_box():
    assert clip_box(1.2, 2.8, 3.0, 4.0, None) == (1, 2, 5, 7)
    assert clip_box(-3, -3, 100, 100, (20, 10)) == (0, 0, 20, 10)
    assert clip_box(5, 5, 0, 9, (20, 10)) is None
    assert clip_box(5, 5, -2, 9, (20, 10)) is None
    assert clip_box(25, 5, 2, 2, (20, 10)) is None
    assert clip_box(float('nan'), 0, 1, 1, None) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
rows = st.lists(
    st.dictionaries(
        st.sampled_from(
            [
                'id',
                'image_id',
                'file_name',
                'width',
                'height',
                'bbox',
                'iscrowd',
                'category_id',
                'name',
            ]
        ),
        st.sampled_from([1, 2, 'a', [0, 0, 5, 5], [1e400, 1, 1, 1], [10**400] * 4, 'person'])
        | json_values,
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries({'images': rows, 'annotations': rows, 'categories': rows})
    | json_values
)
def test_coco_parser_raises_typed_errors_only(document):
    try:
        crops = coco_persons(document, 'x.json')
    except DataError as error:
        crops, message = [], str(error)
    else:
        message = 'x.json'
    assert message.startswith('x.json')
    for crop in crops:
        assert isinstance(crop, Crop)
        assert crop.box[0] < crop.box[2]
        assert crop.box[1] < crop.box[3]


@pytest.mark.skipif(not (REALDATA / 'crops').is_dir(), reason=NO_REALDATA)
def test_real_images():
    dataset = PersonImages(str(REALDATA / 'crops'))
    files = [path for path in (REALDATA / 'crops').rglob('*') if path.suffix in IMAGE_SUFFIXES]
    assert len(dataset) == len(files)
    assert all(int(dataset[index]['replaced']) == -1 for index in range(0, len(dataset), 50))
    coco_set = PersonImages(
        str(REALDATA / 'native/coco'), 'annotations/instances_train2017.json', 'train2017'
    )
    crowds = json.loads(
        (REALDATA / 'native/coco/annotations/instances_train2017.json').read_text()
    )
    persons = [
        row
        for row in crowds['annotations']
        if row['category_id'] == 1 and not row['iscrowd'] and min(row['bbox'][2:]) > 0
    ]
    assert len(coco_set) == len(persons)
    assert all(int(coco_set[index]['replaced']) == -1 for index in range(len(coco_set)))
