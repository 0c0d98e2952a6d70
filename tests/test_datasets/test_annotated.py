"""Crops with parts and keypoints, read back from synthetic sets."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from saip.datasets.annotated import BODY_PARTS, LIP_TO_PARTS, KeypointCrops, PartCrops
from saip.synthetic.formats.coco import write_coco
from saip.synthetic.formats.lip import write_lip
from saip.synthetic.scene.parts import LIP_LABELS

SIZE = (128, 64)


@pytest.fixture(scope='module')
def lip(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sets') / 'lip'
    write_lip(folder)
    return folder


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sets') / 'coco'
    write_coco(folder)
    return folder


def test_every_label_has_a_part():
    joined = {
        name: BODY_PARTS[part] for name, part in zip(LIP_LABELS, LIP_TO_PARTS, strict=True)
    }
    assert joined['Background'] == 'background'
    assert joined['Face'] == joined['Hair'] == 'head'
    assert joined['Dress'] == 'upper body'
    assert joined['Left-arm'] == joined['Glove'] == 'arms'
    assert joined['Skirt'] == 'lower body'
    assert joined['Right-leg'] == joined['Socks'] == 'legs'
    assert joined['Left-shoe'] == 'feet'
    assert set(joined.values()) == set(BODY_PARTS)


def test_parts_are_those_of_the_maps(lip):
    crops = PartCrops(lip, 'train', SIZE)
    assert len(crops) == 12
    sample = crops[3]
    assert sample['image'].shape == (3, *SIZE)
    labels = cv2.imread(f'{lip}/train_segmentations/{crops.names[3]}.png', -1)
    rows = ((np.arange(128) + 0.5) / 128 * labels.shape[0]).astype(int)
    columns = ((np.arange(64) + 0.5) / 64 * labels.shape[1]).astype(int)
    expected = np.array(LIP_TO_PARTS)[labels[rows][:, columns]]
    assert (sample['parts'].numpy() == expected).mean() > 0.999
    assert len(sample['parts'].unique()) >= 5


def test_keypoints_lie_on_the_pixels_of_the_crop(coco, tmp_path):
    """A dot is painted on every visible keypoint of an image; the crops show it there."""
    shutil.copytree(coco, tmp_path / 'set')
    file = tmp_path / 'set/annotations/person_keypoints_val2017.json'
    document = json.loads(file.read_text())
    names = {image['id']: image['file_name'] for image in document['images']}
    images = {
        number: np.zeros_like(cv2.imread(f'{tmp_path}/set/val2017/{name}'))
        for number, name in names.items()
    }
    for row in document['annotations']:
        for x, y, seen in np.array(row['keypoints']).reshape(-1, 3):
            if seen:
                images[row['image_id']][y, x] = 255
    for number, image in images.items():
        # A PNG: a JPEG would smear the dots.
        cv2.imwrite(f'{tmp_path}/set/val2017/{names[number][:-4]}.png', image)
    for row in document['images']:
        row['file_name'] = row['file_name'][:-4] + '.png'
    file.write_text(json.dumps(document))
    crops = KeypointCrops(tmp_path / 'set', 'val', (1024, 1024))
    looked_at = 0
    for i in range(len(crops)):
        sample = crops[i]
        for x, y in sample['points'][sample['labeled']].tolist():
            assert sample['image'][0, int(y * 1024), int(x * 1024)] > 128
            looked_at += 1
    assert looked_at > 50


def test_crops_keep_the_shape_of_their_boxes(coco):
    crops = KeypointCrops(coco, 'train', SIZE)
    for i, person in enumerate(crops.persons):
        sample, (x, y, width, height) = crops[i], person.bbox
        assert person.annotation['num_keypoints'] > 0
        wide = min(np.ceil(x + 1.05 * width), 256) - max(np.floor(x - 0.05 * width), 0)
        tall = min(np.ceil(y + 1.05 * height), 192) - max(np.floor(y - 0.05 * height), 0)
        assert float(sample['aspect']) == pytest.approx(wide / tall, rel=1e-5)
        inside = sample['points'][sample['labeled']]
        assert ((inside >= 0) & (inside <= 1)).all()
        assert int(sample['labeled'].sum()) == person.annotation['num_keypoints']


def test_large_sets_are_thinned_evenly(lip, monkeypatch):
    monkeypatch.setattr('saip.datasets.annotated.LIMITS', {'train': 5, 'val': 5})
    everything = (lip / 'train_id.txt').read_text().split()
    assert PartCrops(lip, 'train', SIZE).names == [everything[i] for i in (0, 2, 4, 7, 9)]


def test_what_is_missing_or_malformed_is_named(lip, coco, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'train_id.txt: no such file. LIP is'):
        PartCrops(tmp_path, 'train', SIZE)
    with pytest.raises(FileNotFoundError, match=r'keypoints_val2017.json: no such file. COCO'):
        KeypointCrops(tmp_path, 'val', SIZE)
    shutil.copytree(lip, tmp_path / 'lip')
    crops = PartCrops(tmp_path / 'lip', 'val', SIZE)
    path = tmp_path / f'lip/val_segmentations/{crops.names[0]}.png'
    path.write_bytes(cv2.imencode('.png', np.full((9, 9), 30, np.uint8))[1].tobytes())
    with pytest.raises(ValueError, match=r'labels up to 30; a map of \(\d+, \d+\) with labels'):
        crops[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match='no such label map'):
        crops[0]
    (tmp_path / 'lip/val_id.txt').write_text('\n')
    with pytest.raises(ValueError, match='names no image'):
        PartCrops(tmp_path / 'lip', 'val', SIZE)
    for name in ('absent', 'x' * 300, 'no/folder'):  # longer than names can be
        (tmp_path / 'lip/val_id.txt').write_text(f'{crops.names[1]}\n{name}\n')
        with pytest.raises(FileNotFoundError, match=r'no such f.*val_id\.txt names'):
            PartCrops(tmp_path / 'lip', 'val', SIZE)


@pytest.mark.parametrize('keypoints', [None, [1, 2, 2], ['a'] * 51, 3])
def test_other_keypoints_are_refused(coco, tmp_path, keypoints):
    (tmp_path / 'annotations').mkdir()
    name = 'annotations/person_keypoints_val2017.json'
    document = json.loads((coco / name).read_text())
    row = next(row for row in document['annotations'] if row['num_keypoints'])
    row['keypoints'] = keypoints
    (tmp_path / name).write_text(json.dumps(document))
    with pytest.raises(ValueError, match='has no 17 keypoints of three numbers'):
        KeypointCrops(tmp_path, 'val', SIZE)


def test_a_batch_can_be_collated(lip, coco):
    for crops in (PartCrops(lip, 'val', SIZE), KeypointCrops(coco, 'val', SIZE)):
        batch = torch.utils.data.default_collate([crops[0], crops[1]])
        assert batch['image'].dtype == torch.uint8
