"""The file of keypoints that a model of mmpose makes of a folder of crops."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.apis import inference_topdown, init_model

from saip.datasets.canvas import decode_image
from saip.datasets.converters.pose_model import from_pose_model
from saip.datasets.crops import crop_key
from saip.datasets.keypoints import Keypoints
from saip.datasets.person_images import PersonImages
from saip.engine.launch import read_config
from saip.errors import InputError

from .small import path


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A pose config of ours with a small encoder, and random weights for it."""
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    cfg = Config(read_config(path('coco')).to_dict())
    cfg.dump(tmp_path / 'pose.py')
    network = init_model(str(tmp_path / 'pose.py'), device='cpu')
    torch.save({'state_dict': network.state_dict(), 'meta': {}}, tmp_path / 'pose.pth')
    return str(tmp_path / 'pose.py'), str(tmp_path / 'pose.pth')


def test_every_sample_gets_what_the_model_says_of_it(model, drawn, tmp_path):
    """Whole images, and boxes of them; mmpose's own answer for the box in the image is the same."""
    folder = drawn / 'coco'
    listing = 'annotations/person_keypoints_val2017.json'
    data = PersonImages(str(folder), listing, 'val2017')
    crops = [data.crop(i) for i in range(3)]
    (tmp_path / 'images').symlink_to(folder / 'val2017')
    document = json.loads((folder / listing).read_text())
    names = {crop.path for crop in crops}
    ids = {row['id'] for row in document['images'] if row['file_name'] in names}
    document['annotations'] = [r for r in document['annotations'] if r['image_id'] in ids]
    (tmp_path / 'images.json').write_text(json.dumps(document))
    done = from_pose_model(
        *model, str(tmp_path / 'images'), tmp_path / 'k.npz', str(tmp_path / 'images.json')
    )
    few = PersonImages(str(tmp_path / 'images'), str(tmp_path / 'images.json'))
    assert done == (len(few), 0)
    found = Keypoints.read(tmp_path / 'k.npz')
    network = init_model(model[0], model[1], device='cpu')
    for index in (0, len(few) - 1):
        crop = few.crop(index)
        x0, y0, x1, y1 = crop.box
        part = decode_image(folder / 'val2017' / crop.path)[y0:y1, x0:x1, ::-1]
        (sample,) = inference_topdown(network, np.ascontiguousarray(part))
        joints = found.of(crop_key(crop))
        assert joints[:, :2] == pytest.approx(
            sample.pred_instances.keypoints[0], rel=1e-3, abs=0.1
        )
        scores = np.clip(sample.pred_instances.keypoint_scores[0], 0, 1)
        assert joints[:, 2] == pytest.approx(scores, abs=1e-3)


def test_weights_of_another_model_are_refused(model, folder_of_two, tmp_path):
    other = {'state_dict': {'backbone.cls_token': torch.zeros(1, 1, 192)}}
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(InputError, match=r'other\.pth: .*(m|M)issing'):
        from_pose_model(
            model[0], str(tmp_path / 'other.pth'), folder_of_two, tmp_path / 'k.npz'
        )


def test_other_joints_are_refused(model, folder_of_two, tmp_path):
    weights = torch.load(model[1])
    names = {i: f'joint_{i}' for i in range(17)}
    weights['meta'] = {'dataset_meta': {'keypoint_id2name': names}}
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(InputError, match="17 joints are not COCO's 17, but joint_0, joint_1"):
        from_pose_model(
            model[0], str(tmp_path / 'other.pth'), folder_of_two, tmp_path / 'k.npz'
        )


@pytest.fixture
def folder_of_two(drawn):
    """Any images."""
    return str(drawn / 'coco/val2017')
