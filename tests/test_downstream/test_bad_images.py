"""Images that cannot be read, in the data sets of every task, with the libraries' pipelines."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from saip.datasets import coco_categories
from saip.datasets.cihp import PARTS
from saip.datasets.crops import DataError
from saip.engine.hooks.bad_files import BadFilesHook, TooManyBadFilesError
from saip.synthetic.formats import ontology
from tests.test_datasets.image_files import encode, pixels
from tests.test_fuzz.readers import coco_document, dump

COUNT, SIZE = 12, (24, 16)
JPEG = encode(pixels(*SIZE))
BROKEN = {
    'truncated': JPEG[: len(JPEG) * 2 // 3],
    'empty': b'',
    'text': b'there is no such file',
}


def write(folder: Path, names: list[str], kind: str = 'JPEG') -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for seed, path in enumerate(paths):
        path.write_bytes(encode(pixels(*SIZE, seed), kind))
    return paths


Made = tuple[list[Path], dict[str, Any]]


def reid(root: Path, tested: bool) -> Made:
    names = [f'{i // 4 + 1:04d}_c{i % 4 // 2 + 1}s1_{i:06d}_00.jpg' for i in range(COUNT)]
    paths = write(root / 'bounding_box_train', names)
    if tested:
        paths = write(root / 'query', names[:2]) + write(root / 'bounding_box_test', names[2:])
    pack = dict(type='PackInputs', algorithm_keys=('pid', 'camid', 'is_query'))
    split = 'test' if tested else 'train'
    pipeline = [dict(type='LoadImageFromFile'), pack]
    return paths, dict(type='saip.Market1501', split=split, pipeline=pipeline)


def attributes(root: Path, tested: bool) -> Made:
    names = [f'{i:05d}.png' for i in range(COUNT)]
    paths = write(root / 'images', names, 'PNG')
    split = 'test' if tested else 'train'
    rows = [dict(img_path=name, gt_score=[0, 1] * 17 + [1], split=split) for name in names]
    metainfo = {'attributes': [f'a{i}' for i in range(35)]}
    dump(root / 'peta_zs.json', {'metainfo': metainfo, 'data_list': rows})
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    return paths, dict(type='saip.PETAZeroShot', split=split, pipeline=pipeline)


def pose(root: Path, tested: bool) -> Made:
    names = [f'{i}.jpg' for i in range(COUNT)]
    dump(root / 'persons.json', coco_document(names))
    pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=(16, 24)),
        dict(type='PackPoseInputs'),
    ]
    options = dict(ann_file='persons.json', data_prefix=dict(img='images/'))
    kind = dict(type='saip.CocoKeypoints', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', names), {**options, **kind}


def segmentation(root: Path, tested: bool) -> Made:
    names = [f'{i:02d}' for i in range(COUNT)]
    (root / 'id.txt').write_text('\n'.join(names))
    maps = root / 'maps'
    maps.mkdir()
    for name in names:
        (maps / f'{name}.png').write_bytes(encode(pixels(*SIZE)[..., 0] % 20, 'PNG'))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='saip.LoadPartLabels', num_classes=20),
        dict(type='mmseg.PackSegInputs'),
    ]
    options = dict(ann_file='id.txt', data_prefix=dict(img_path='images', seg_map_path='maps'))
    kind = dict(type='saip.LIPParts', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', [f'{name}.jpg' for name in names]), {**options, **kind}


def detection(root: Path, tested: bool) -> Made:
    box = {'tag': 'person', 'fbox': [1, 2, 10, 18], 'vbox': [2, 3, 8, 15], 'hbox': [3, 3, 4, 4]}
    names = [f'{i:02d}' for i in range(COUNT)]
    lines = [f'{{"ID": "{name}", "gtboxes": {[box, box]}}}'.replace("'", '"') for name in names]
    (root / 'train.odgt').write_text('\n'.join(lines))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape')),
    ]
    options = dict(ann_file='train.odgt', data_prefix=dict(img='images'))
    kind = dict(type='saip.CrowdHuman', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', [f'{name}.jpg' for name in names]), {**options, **kind}


def text_reid(root: Path, tested: bool) -> Made:
    names = [f'{i:02d}.jpg' for i in range(COUNT)]
    split = 'test' if tested else 'train'
    rows = [
        dict(id=i // 2 + 1, file_path=name, captions=[f'person {i}'], split=split)
        for i, name in enumerate(names)
    ]
    dump(root / 'reid_raw.json', rows)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='PackInputs', algorithm_keys=('pid', 'captions' if tested else 'caption')),
    ]
    return write(root / 'imgs', names), dict(
        type='saip.CUHKPEDES', split=split, pipeline=pipeline
    )


def human_parsing(root: Path, tested: bool) -> Made:
    names = [f'{i:02d}' for i in range(COUNT)]
    document = coco_document([f'{name}.jpg' for name in names])
    document['categories'] = [dict(id=1, name='person', parsing=list(PARTS))]
    for kind in ('parsing', 'seg'):
        for row in document['annotations']:
            row['parsing'] = f'{row["id"]}.png'
        listed = [row['parsing'] for row in document['annotations']]
        for name in listed if kind == 'parsing' else [f'{name}.png' for name in names]:
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / name).write_bytes(encode(pixels(*SIZE)[..., 0] % 20, 'PNG'))
    dump(root / 'people.json', document)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape')),
    ]
    options = dict(
        ann_file='people.json', data_prefix=dict(img='images', parsing='parsing', seg='seg')
    )
    kind = dict(type='saip.CIHP', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', [f'{name}.jpg' for name in names]), {**options, **kind}


def part_attributes(root: Path, tested: bool) -> Made:
    names = [f'{i:02d}.jpg' for i in range(COUNT)]
    document = coco_document(names)
    document['categories'] = [dict(entry) for entry in ontology.CATEGORIES]
    document['attributes'] = [dict(entry) for entry in ontology.ATTRIBUTES]
    for row in document['annotations']:
        row['attribute_ids'] = []
    dump(root / 'garments.json', document)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape')),
    ]
    options = dict(ann_file='garments.json', data_prefix=dict(img='images'))
    kind = dict(type='saip.Fashionpedia', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', names), {**options, **kind}


def semantic_segmentation(root: Path, tested: bool) -> Made:
    names = [f'{i:02d}' for i in range(COUNT)]
    maps = root / 'maps'
    maps.mkdir()
    for name in names:
        (maps / f'{name}.png').write_bytes(encode(pixels(*SIZE)[..., 0] % 151, 'PNG'))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='saip.LoadSceneLabels'),
        dict(type='mmseg.PackSegInputs'),
    ]
    options = dict(data_prefix=dict(img_path='images', seg_map_path='maps'))
    kind = dict(type='saip.ADE20K', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', [f'{name}.jpg' for name in names]), {**options, **kind}


def instance_segmentation(root: Path, tested: bool) -> Made:
    names = [f'{i:02d}.jpg' for i in range(COUNT)]
    document = coco_document(names)
    document['categories'] = [dict(entry) for entry in coco_categories.CATEGORIES]
    dump(root / 'objects.json', document)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape')),
    ]
    options = dict(ann_file='objects.json', data_prefix=dict(img='images'))
    kind = dict(type='saip.CocoInstances', test_mode=tested, pipeline=pipeline)
    return write(root / 'images', names), {**options, **kind}


def classification(root: Path, tested: bool) -> Made:
    split, other = ('val', 'train') if tested else ('train', 'val')
    paths = []
    for wnid in ('n02099712', 'n02391049'):
        (root / other / wnid).mkdir(parents=True)
        names = [f'{wnid}_{i:02d}.JPEG' for i in range(COUNT // 2)]
        paths += write(root / split / wnid, names)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    return paths, dict(type='saip.ImageNet', split=split, pipeline=pipeline)


TASKS: dict[str, tuple[str, str, Callable[[Path, bool], Made]]] = {
    'reid': ('mmpretrain', 'reid', reid),
    'attributes': ('mmpretrain', 'attributes', attributes),
    'classification': ('mmpretrain', 'classification', classification),
    'pose': ('mmpose', 'pose', pose),
    'part_segmentation': ('mmseg', 'part_segmentation', segmentation),
    'detection': ('mmdet', 'detection', detection),
    'text_reid': ('mmpretrain', 'text_reid', text_reid),
    'human_parsing': ('mmdet', 'human_parsing', human_parsing),
    'part_attributes': ('mmdet', 'part_attributes', part_attributes),
    'semantic_segmentation': ('mmseg', 'semantic_segmentation', semantic_segmentation),
    'instance_segmentation': ('mmdet', 'instance_segmentation', instance_segmentation),
}
every_task = pytest.mark.parametrize('task', TASKS)


def prepare(
    task: str, root: Path, tested: bool = False
) -> tuple[list[Path], Callable[[], Any]]:
    """The images of a set, and a function that builds it."""
    library, package, make = TASKS[task]
    try:
        importlib.import_module(f'{library}.models')
    except (ImportError, AssertionError) as error:  # they assert the version of mmcv
        pytest.skip(str(error))
    importlib.import_module(f'saip.downstream.{package}')
    paths, options = make(root, tested)

    def build() -> Any:
        with DefaultScope.overwrite_default_scope(library):
            return DATASETS.build({**options, 'data_root': str(root)})

    return paths, build


def path_of(sample: Any) -> str:
    return str(sample['data_samples'].metainfo['img_path'])


@every_task
@pytest.mark.parametrize('damage', BROKEN)
def test_another_image_stands_in_in_training(task, damage, tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr('saip.datasets.readable.print_log', lambda text, *_: said.append(text))
    paths, build = prepare(task, tmp_path)
    data = build()  # CrowdHuman looks at the headers before; files go bad afterwards, too
    whole = [path_of(data[i]) for i in range(COUNT)]
    assert whole == list(map(str, paths))
    paths[4].write_bytes(BROKEN[damage])
    for _ in range(2):
        samples = [data[i] for i in range(COUNT)]
    assert [path_of(s) for i, s in enumerate(samples) if i != 4] == whole[:4] + whole[5:]
    # The next of the same person for ReID, elsewhere the next.
    assert path_of(samples[4]) == whole[5]
    marks = [s['data_samples'].get('stands_in_for') for s in samples]
    assert marks == [None] * 4 + [whole[4]] + [None] * (COUNT - 5)
    assert len(said) == 1
    assert re.search(rf'bad image replaced: {paths[4]}: ', said[0])
    hook = BadFilesHook()
    runner = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=data), epoch=0)
    collate = default_collate if TASKS[task][0] == 'mmpretrain' else pseudo_collate
    hook.after_train_iter(runner, 0, collate(samples))
    assert (hook.training.seen, hook.training.bad) == (COUNT, 1)
    with pytest.raises(TooManyBadFilesError, match=rf'1 of 12 .*: {paths[4]}; more than 1'):
        hook.after_train_epoch(runner)


@every_task
def test_a_test_set_with_broken_images_is_refused_with_all_their_names(task, tmp_path):
    paths, build = prepare(task, tmp_path, tested=True)
    assert build().test_mode
    broken = dict(zip(paths[3:6], BROKEN.values(), strict=True))
    for path, content in broken.items():
        path.write_bytes(content)
    with pytest.raises(DataError, match=r'3 of the \d+ images to measure on') as caught:
        build()
    assert all(str(path) in str(caught.value) for path in broken)


@every_task
def test_an_image_of_a_test_set_that_goes_bad_later_stops_it(task, tmp_path):
    paths, build = prepare(task, tmp_path, tested=True)
    data = build()
    paths[3].write_bytes(b'')
    with pytest.raises(ValueError, match=f'{paths[3]}: the file is empty'):
        [data[i] for i in range(COUNT)]


@every_task
def test_a_fault_of_the_pipeline_stays_what_it_is(task, tmp_path, monkeypatch):
    _, build = prepare(task, tmp_path)
    data = build()

    def fail(results: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(data, 'pipeline', fail)
    with pytest.raises(ZeroDivisionError):
        data[0]


@every_task
def test_nothing_is_left_to_stand_in(task, tmp_path):
    paths, build = prepare(task, tmp_path)
    data = build()
    for path in paths:
        path.write_bytes(b'')
    with pytest.raises(DataError, match=f'{paths[0]} and all images that could stand in'):
        data[0]


def test_of_a_person_without_another_image_anybody_stands_in(tmp_path):
    paths, build = prepare('reid', tmp_path)
    data = build()
    for path in paths[4:8]:
        path.write_bytes(b'')
    found = data[6]
    assert path_of(found) == str(paths[8])
    assert int(found['data_samples'].gt_label) == 2


def test_a_broken_label_map_stops_since_it_is_annotation(tmp_path):
    _, build = prepare('part_segmentation', tmp_path)
    data = build()
    path = tmp_path / 'maps/02.png'
    path.write_bytes(b'')
    with pytest.raises(DataError, match=str(path)):
        data[2]


def test_crowdhuman_leaves_out_training_images_whose_size_cannot_be_read(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(
        'saip.downstream.detection.dataset.print_log', lambda text, **_: said.append(text)
    )
    paths, build = prepare('detection', tmp_path)
    paths[7].write_bytes(b'')
    with pytest.raises(DataError, match=rf'1 of the 1 images .*{paths[7]}'):
        build()
    monkeypatch.setattr('saip.downstream.detection.dataset.MAX_BAD', 0.1)
    assert len(build()) == COUNT - 1
    assert str(paths[7]) in said[0]


def test_nobody_is_searched_for_a_stand_in_of_a_whole_image(tmp_path, monkeypatch):
    """Which takes a look at all records of a set."""
    _, build = prepare('reid', tmp_path)
    data = build()

    def search(index: int) -> Any:
        raise AssertionError

    monkeypatch.setattr(data, 'get_cat_ids', search)
    assert [path_of(data[i]) for i in range(COUNT)]
