"""The readers of annotation files, each with a small file in order.

Every function writes a set below a folder and returns what is damaged and read.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from saip.datasets.annotated import KeypointCrops, PartCrops
from saip.datasets.cihp import PARTS
from saip.datasets.coco import load_json, read_coco_persons
from saip.datasets.coco_categories import CATEGORIES
from saip.datasets.converters.hap_keypoints import _read as read_hap_file
from saip.datasets.converters.hp1m_sources import parse_aic, parse_fashionpedia
from saip.datasets.converters.keypoints import from_annotations
from saip.datasets.crops import Crop
from saip.datasets.fashionpedia import read_fashionpedia as read_garments
from saip.datasets.keypoints import Keypoints, write_keypoints
from saip.datasets.knowledge import count_file, load_counts, save_counts
from saip.datasets.manifest import Entry, write_manifest
from saip.datasets.person_images import PersonImages
from saip.datasets.retrieval import RetrievalImages
from saip.downstream.attributes.annotations import read_attribute_json, read_pa100k
from saip.downstream.attributes.published import convert_petazs
from saip.synthetic.formats import ontology
from saip.synthetic.formats.matfile import cell, save_mat
from tests.test_fuzz.campaign import Target

SIZE = (24, 16)
"""(height, width) of all images."""


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def person(number: int, image_id: int, **more: Any) -> dict[str, Any]:
    points = [[4 + i % 3, 6 + i % 5, 2] for i in range(17)]
    return {
        'id': number,
        'image_id': image_id,
        'category_id': 1,
        'bbox': [1.5, 2, 10, 18.5],
        'area': 150.0,
        'iscrowd': 0,
        'num_keypoints': 17,
        'keypoints': [value for point in points for value in point],
        'segmentation': [[1, 2, 8, 3, 9, 15]],
        **more,
    }


def coco_document(names: list[str], **more: Any) -> dict[str, Any]:
    return {
        'info': {'version': '1'},
        'images': [
            {'id': i, 'file_name': name, 'width': SIZE[1], 'height': SIZE[0]}
            for i, name in enumerate(names, 1)
        ],
        'annotations': [person(10 + i, i, **more) for i in range(1, len(names) + 1)],
        'categories': [{'id': 1, 'name': 'person', 'supercategory': 'person'}],
    }


NAMES = ['a.jpg', 'b.jpg', 'sub/c.jpg']


def images(folder: Path) -> Path:
    for name in NAMES:
        image(folder / name)
    return folder


def dump(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def coco_boxes(folder: Path) -> Target:
    images(folder)
    file = dump(folder / 'boxes.json', coco_document(NAMES))

    def read() -> None:
        read_coco_persons(file)
        PersonImages(str(folder), 'boxes.json', canvas=(8, 4))

    return Target(file, read, 'json')


def coco_crops(folder: Path) -> Target:
    images(folder / 'val2017')
    file = dump(folder / 'annotations/person_keypoints_val2017.json', coco_document(NAMES))
    return Target(file, lambda: KeypointCrops(folder, 'val', (8, 4)), 'json')


def coco_to_keypoints(folder: Path) -> Target:
    file = dump(folder / 'persons.json', coco_document(NAMES))
    return Target(file, lambda: from_annotations(file, folder / 'out.npz'), 'json')


def aic(folder: Path) -> Target:
    humans = {'human1': [1, 2, 9, 20], 'human2': [2, 2, 12, 21]}
    points = {name: [v for i in range(14) for v in (3 + i % 5, 5 + i, 1)] for name in humans}
    rows = [
        {'image_id': name, 'human_annotations': humans, 'keypoint_annotations': points}
        for name in ('a', 'b')
    ]
    file = dump(folder / 'aic.json', rows)

    def read() -> None:
        parse_aic(load_json(file), 'images', str(file))
        from_annotations(file, folder / 'out.npz')

    return Target(file, read, 'json')


def fashionpedia(folder: Path) -> Target:
    file = dump(folder / 'fashion.json', coco_document(NAMES))
    return Target(file, lambda: parse_fashionpedia(load_json(file), 'x', str(file)), 'json')


def path_list(folder: Path) -> Target:
    images(folder)
    file = folder / 'list.txt'
    file.write_text('\n'.join(NAMES) + '\n')
    return Target(file, lambda: PersonImages(str(folder), 'list.txt', canvas=(8, 4)))


def manifest(folder: Path) -> Target:
    images(folder)
    file = folder / 'set.tsv'
    boxes = (None, (1, 2, 9, 20), None)
    entries = [
        Entry(Crop(name, box), SIZE[1], SIZE[0]) for name, box in zip(NAMES, boxes, strict=True)
    ]
    write_manifest(file, folder, entries)

    def seal(content: bytes) -> bytes:
        first, _, body = content.partition(b'\n')
        found = first.find(b'"sha256": "')
        if found < 0:
            return content
        digest = hashlib.sha256(body).hexdigest().encode()
        return first[: found + 11] + digest + first[found + 11 + 64 :] + b'\n' + body

    def read() -> None:
        data = PersonImages(str(folder), 'set.tsv', canvas=(8, 4))
        [data.crop(i) for i in range(len(data))]

    return Target(file, read, seal=seal, names=('manifest',))


def keypoint_file(folder: Path) -> Target:
    images(folder)
    joints = np.full((len(NAMES), 17, 3), 5.0) + np.arange(17)[:, None] / 4
    file = folder / 'joints.npz'
    write_keypoints(file, [Crop(name) for name in NAMES], joints)
    return Target(file, lambda: Keypoints.read(file))


def keypoint_array(folder: Path) -> Target:
    """Damage inside of the archive, whose own sums would notice it."""
    whole = keypoint_file(folder).file
    return member_of(whole, 'keypoints.npy', lambda: Keypoints.read(whole))


def member_of(whole: Path, name: str, read_whole: Callable[[], object]) -> Target:
    """Damage one member of an archive, and put it there again."""
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    file = whole.with_name(name)
    file.write_bytes(members[name])

    def read() -> None:
        with zipfile.ZipFile(whole, 'w') as archive:
            for member, content in (members | {name: file.read_bytes()}).items():
                archive.writestr(member, content)
        read_whole()

    return Target(file, read, names=(whole.name,))


def hap(folder: Path) -> Target:
    record = np.empty((1, 1), object)
    record[0, 0] = {'keypoints': np.ones((17, 3), np.float32)}
    np.save(folder / 'a.npy', record, allow_pickle=True)
    return Target(folder / 'a.npy', lambda: read_hap_file('a', folder))


def lmdb_images(folder: Path) -> Target:
    import lmdb

    images(folder / 'images')
    file = folder / 'set.lmdb'
    environment = lmdb.open(str(file), subdir=False, map_size=1 << 20)
    with environment, environment.begin(write=True) as transaction:
        for name in NAMES:
            content = (folder / 'images' / name).read_bytes()
            transaction.put(name.encode(), content * 4)  # on pages of its own

    def read() -> None:
        data = PersonImages(str(file), canvas=(8, 4))
        for index in range(len(data)):
            data.storage.read(data.crop(index).path)

    return Target(file, read)


def lip_crops(folder: Path) -> Target:
    for name in ('a', 'b'):
        image(folder / f'val_images/{name}.jpg')
    file = folder / 'val_id.txt'
    file.write_text('a\nb\n')
    return Target(file, lambda: PartCrops(folder, 'val', (8, 4)))


def pa100k(folder: Path) -> Target:
    file, content = folder / 'annotation.mat', {'attributes': cell(['Hat', 'Skirt&Dress'])}
    for part in ('train', 'val', 'test'):
        content[f'{part}_images_name'] = cell(['000001.jpg', '000002.jpg'])
        content[f'{part}_label'] = np.array([[0, 1], [1, 0]], np.uint8)
    save_mat(file, content)
    return Target(file, lambda: [read_pa100k(file, split, 2) for split in ('trainval', 'test')])


def pa100k_compressed(folder: Path) -> Target:
    from scipy.io import savemat

    names, labels = cell(['000001.jpg', '000002.jpg']), np.eye(2)
    content = {'attributes': cell(['Hat', 'Bag']), 'test_images_name': names}
    file = folder / 'annotation.mat'
    savemat(file, {**content, 'test_label': labels}, do_compression=True)
    return Target(file, lambda: read_pa100k(file, 'test', 2))


def peta(folder: Path) -> Target:
    rows = [
        {'img_path': f'{i:05d}.png', 'gt_score': [0, i % 2, 1], 'split': part}
        for i, part in enumerate(('train', 'train', 'val', 'test'), 1)
    ]
    document = {'metainfo': {'attributes': ['a', 'b', 'c']}, 'data_list': rows}
    file = dump(folder / 'peta_zs.json', document)
    return Target(file, lambda: read_attribute_json(file, 'trainval', 3), 'json')


def peta_pickle(folder: Path) -> Target:
    from saip.synthetic.formats.peta import _pickled

    split = {part: np.array([i]) for i, part in enumerate(('train', 'val', 'test'))}
    split['trainval'] = np.array([0, 1])
    rows = [{f'attribute {number}': False for number in range(35)}] * 3
    file = folder / 'dataset_zs_run0.pkl'
    file.write_bytes(_pickled(rows, split))
    return Target(file, lambda: convert_petazs(file, folder / 'out.json'))


def market_names(folder: Path) -> Target:
    """The content of the file is the names of the gallery's images, one a line."""
    image(folder / 'query/0002_c1s1_000451_03.jpg')
    gallery = folder / 'bounding_box_test'
    gallery.mkdir()
    content = (folder / 'query/0002_c1s1_000451_03.jpg').read_bytes()
    file = folder / 'names'
    file.write_text('0002_c2s1_000451_03.jpg\n-1_c1s1_000401_03.jpg\n0000_c1s2_000301_00.jpg\n')

    def read() -> None:
        for old in gallery.iterdir():
            old.unlink()
        for line in file.read_bytes().split(b'\n'):
            if line and b'/' not in line and b'\0' not in line and len(line) < 256:
                name = line.decode('utf-8', 'surrogateescape')
                if name not in ('.', '..'):
                    (gallery / name).write_bytes(content)
        RetrievalImages(str(folder), (8, 4)).full_init()

    return Target(file, read, names=('bounding_box_test', 'query', str(folder)))


def msmt_lists(folder: Path) -> Target:
    from saip.downstream.reid.datasets import MSMT17

    names = [f'0000/0000_00{i}_0{i}_0303morning_0008_0.jpg' for i in range(1, 3)]
    for name in names:
        image(folder / 'train' / name)
    for part in ('train', 'val'):
        (folder / f'list_{part}.txt').write_text(''.join(f'{name} 0\n' for name in names))
    return Target(
        folder / 'list_train.txt',
        lambda: MSMT17(str(folder), 'train').full_init(),
        names=('train/',),
    )


def crowdhuman(folder: Path) -> Target:
    from saip.downstream.detection import CrowdHuman

    box = {'tag': 'person', 'fbox': [1, 2, 10, 18], 'vbox': [2, 3, 8, 15], 'hbox': [3, 3, 4, 4]}
    box |= {'extra': {'ignore': 0, 'box_id': 0}, 'head_attr': {'ignore': 0, 'occ': 0}}
    group = {**box, 'tag': 'mask', 'extra': {'ignore': 1}}
    lines = []
    for name in ('a', 'b'):
        image(folder / f'Images/{name}.jpg')
        lines.append(json.dumps({'ID': name, 'gtboxes': [box, box, group]}))
    file = folder / 'annotation_train.odgt'
    file.write_text('\n'.join(lines) + '\n')
    options = dict(data_prefix=dict(img='Images'), pipeline=[], lazy_init=True)
    data = CrowdHuman(data_root=str(folder), ann_file=file.name, **options)
    tested = CrowdHuman(data_root=str(folder), ann_file=file.name, test_mode=True, **options)

    def read() -> None:
        data.load_data_list()
        tested.load_data_list()

    return Target(file, read, 'jsonl', names=('Images',))


def coco_objects(folder: Path) -> Target:
    from saip.downstream.instance_segmentation import CocoInstances

    names = [f'{i}.jpg' for i in range(3)]
    for name in names:
        image(folder / f'images/{name}')
    document = coco_document(names)
    document['categories'] = [dict(entry) for entry in CATEGORIES]
    crowd = {'segmentation': {'size': list(SIZE), 'counts': [0, SIZE[0] * SIZE[1]]}}
    document['annotations'].append(person(99, 1) | crowd | {'iscrowd': 1})
    file = dump(folder / 'objects.json', document)
    options = dict(data_prefix=dict(img='images'), pipeline=[], lazy_init=True)
    data = CocoInstances(data_root=str(folder), ann_file=file.name, **options)
    return Target(file, data.load_data_list, 'json', names=('images',))


def lip(folder: Path) -> Target:
    from saip.downstream.part_segmentation import LIPParts

    for name in ('a', 'b'):
        image(folder / f'images/{name}.jpg')
        image(folder / f'maps/{name}.png')
    file = folder / 'train_id.txt'
    file.write_text('a\nb\n')
    prefix = dict(img_path='images', seg_map_path='maps')
    options = dict(data_prefix=prefix, pipeline=[], lazy_init=True)
    data = LIPParts(data_root=str(folder), ann_file=file.name, **options)
    return Target(file, data.load_data_list, names=('images',))


def pose_set(folder: Path, name: str, document: dict[str, Any], tested: bool) -> Target:
    import saip.downstream.pose as pose

    images(folder / 'images')
    file = dump(folder / 'annotations.json', document)
    data = getattr(pose, name)(
        data_root=str(folder),
        ann_file=file.name,
        data_prefix=dict(img='images/'),
        pipeline=[],
        test_mode=tested,
        lazy_init=True,
    )
    return Target(file, data.load_data_list, 'json', names=('images',))


def coco_keypoints(folder: Path) -> Target:
    return pose_set(folder, 'CocoKeypoints', coco_document(NAMES), tested=False)


def coco_keypoints_tested(folder: Path) -> Target:
    return pose_set(folder, 'CocoKeypoints', coco_document(NAMES), tested=True)


def wholebody(folder: Path) -> Target:
    counts = {'foot': 6, 'face': 68, 'lefthand': 21, 'righthand': 21}
    more: dict[str, Any] = {f'{part}_kpts': [5, 9, 1] * n for part, n in counts.items()}
    more |= {f'{part}_valid': True for part in counts}
    more |= {f'{part}_box': [2, 3, 4, 4] for part in counts if part != 'foot'}
    return pose_set(folder, 'CocoWholeBody', coco_document(NAMES, **more), tested=False)


def ap10k(folder: Path) -> Target:
    return pose_set(folder, 'AP10K', coco_document(NAMES), tested=False)


def humanart(folder: Path) -> Target:
    return pose_set(folder, 'HumanArt', coco_document(NAMES), tested=False)


def detections(folder: Path) -> Target:
    target = pose_set(folder, 'CocoKeypoints', coco_document(NAMES), tested=True)
    rows = [
        {'image_id': i, 'category_id': 1, 'bbox': [1, 2, 9, 18.5], 'score': 0.5 + i / 10}
        for i in range(1, 4)
    ]
    file = dump(folder / 'detections.json', rows)
    import saip.downstream.pose as pose

    data = pose.CocoKeypoints(
        data_root=str(folder),
        ann_file=target.file.name,
        data_prefix=dict(img='images/'),
        bbox_file=str(file),
        pipeline=[],
        test_mode=True,
        lazy_init=True,
    )
    return Target(file, data.load_data_list, 'json')


def garments_document() -> dict[str, Any]:
    """Garments with polygons, run lengths as a list and as a text, and a crowd."""
    outlines = [
        [[1, 2, 8, 3, 9, 15]],
        {'size': list(SIZE), 'counts': [40, 10, 334]},
        {'size': list(SIZE), 'counts': RUNS},
    ]
    names = [entry['name'] for entry in ontology.CATEGORIES]
    document = coco_document(NAMES, attribute_ids=[0, 295])
    for annotation, outline in zip(document['annotations'], outlines, strict=True):
        annotation |= {'segmentation': outline, 'category_id': names.index('dress')}
    document['annotations'].append(document['annotations'][0] | {'id': 20, 'iscrowd': 1})
    document['categories'] = [dict(entry) for entry in ontology.CATEGORIES]
    document['attributes'] = [dict(entry) for entry in ontology.ATTRIBUTES]
    return document


RUNS = 'c16b00o0NY6'
"""Runs of 51, 6, 18 ... pixels as a text of COCO's, of an image of ``SIZE``."""


def garments(folder: Path) -> Target:
    file = dump(folder / 'garments.json', garments_document())
    return Target(file, lambda: read_garments(file), 'json')


def garment_counts(folder: Path) -> Target:
    source = dump(folder / 'garments.json', garments_document())
    file = folder / 'knowledge.npz'
    save_counts(file, count_file(source))
    return Target(file, lambda: load_counts(file))


def garment_counts_array(folder: Path) -> Target:
    """Damage inside of the archive, whose own sums would notice it."""
    whole = garment_counts(folder).file
    return member_of(whole, 'pairs.npy', lambda: load_counts(whole))


def run_lengths(folder: Path) -> Target:
    """The content of the file is the text of a mask, which compiled code decodes."""
    from saip.downstream.part_attributes.outlines import mask_of

    document = garments_document()
    outline = document['annotations'][2]['segmentation']
    file = folder / 'runs'
    file.write_text(RUNS)
    annotations = folder / 'garments.json'

    def read() -> None:
        outline['counts'] = file.read_bytes().decode('latin-1')
        dump(annotations, document)
        for image_ in read_garments(annotations).images.values():
            for garment in image_.garments:
                mask_of(garment.segmentation, image_.size)

    return Target(file, read, names=(annotations.name,))


def cihp(folder: Path) -> Target:
    from saip.downstream.human_parsing.annotations import read_cihp

    document = coco_document(NAMES, parsing='a.png')
    document['categories'][0]['parsing'] = list(PARTS)
    document['annotations'].append(person(30, 1, iscrowd=1))
    file = dump(folder / 'CIHP_train.json', document)
    return Target(file, lambda: read_cihp(file), 'json')


def captions(folder: Path) -> Target:
    from saip.downstream.text_reid.annotations import check_gaps, read_descriptions

    rows = [
        {'split': part, 'id': i, 'file_path': f'a/{i}.jpg', 'captions': ['A man.', 'In blue.']}
        for i, part in enumerate(('train', 'train', 'val', 'test'), 1)
    ]
    file = dump(folder / 'reid_raw.json', rows)

    def read() -> None:
        found = read_descriptions(file, 'the layout')
        check_gaps(found['train'], 1, file)

    return Target(file, read, 'json')


CORE: dict[str, Callable[[Path], Target]] = {
    'COCO boxes': coco_boxes,
    'COCO crops with keypoints': coco_crops,
    'COCO to keypoint file': coco_to_keypoints,
    'AIC': aic,
    'Fashionpedia': fashionpedia,
    'Fashionpedia garments': garments,
    'counts of attributes (.npz)': garment_counts,
    'counts of attributes (.npy)': garment_counts_array,
    'list of paths': path_list,
    'manifest': manifest,
    'keypoint file (.npz)': keypoint_file,
    'keypoint array (.npy)': keypoint_array,
    'HAP poses (.npy)': hap,
    'LMDB': lmdb_images,
    'LIP crops list': lip_crops,
    'PA-100K (.mat)': pa100k,
    'PA-100K (.mat, compressed)': pa100k_compressed,
    'PETA (JSON)': peta,
    'PETA (pickle)': peta_pickle,
    'Market file names': market_names,
}
DOWNSTREAM: dict[str, tuple[str, Callable[[Path], Target]]] = {
    'MSMT17 lists': ('mmpretrain', msmt_lists),
    'CrowdHuman (.odgt)': ('mmdet', crowdhuman),
    'LIP list': ('mmseg', lip),
    'COCO objects': ('mmdet', coco_objects),
    'CIHP': ('mmdet', cihp),
    'run lengths of masks': ('mmdet', run_lengths),
    'captions': ('mmpretrain', captions),
    'COCO keypoints': ('mmpose', coco_keypoints),
    'COCO keypoints, tested': ('mmpose', coco_keypoints_tested),
    'COCO-WholeBody': ('mmpose', wholebody),
    'AP-10K': ('mmpose', ap10k),
    'HumanArt': ('mmpose', humanart),
    'person detections': ('mmpose', detections),
}
"""With the library that each needs."""
