"""Masks of body parts begin only with the keypoints of all training samples."""

import logging

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset

from saip.datasets.keypoints import write_keypoints
from saip.datasets.person_images import PersonImages
from saip.engine import launch
from saip.engine.keypoint_checks import check_all_have_keypoints
from saip.errors import StartError
from saip.views.body_parts import place_template
from tests.test_datasets.image_files import fill
from tests.tiny import ROOT

VIEWS = 'model.data_preprocessor.views'
OPTIONS = ' '.join(f'{VIEWS}.masked_{x}.mask.on_missing=template' for x in 'ab')


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / 'set', 20)
    return tmp_path / 'set'


def write(folder, path, lacking=()):
    """Keypoints of a folder's images but for some, by number."""
    data = PersonImages(str(folder))
    crops = [data.crop(i) for i in range(len(data)) if i not in lacking]
    joints = place_template(np.tile([40, 30], (len(crops), 1)))
    write_keypoints(path, crops, joints)
    return str(path)


def recipe(*on_missing):
    views = {'clean': {'type': 'Crop'}}
    for name, value in zip('ab', on_missing, strict=True):
        mask = {'type': 'PartMask', **({'on_missing': value} if value else {})}
        views[f'masked_{name}'] = {'type': 'Masked', 'of': 'clean', 'mask': mask}
    return Config({'model': {'data_preprocessor': {'views': views}}})


@pytest.mark.usefixtures('fresh_mmengine')
def test_a_run_is_refused_before_its_first_step(folder, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_FOLDER', str(folder))
    monkeypatch.setenv('SAIP_KEYPOINTS', write(folder, tmp_path / 'k.npz', lacking=range(5)))
    monkeypatch.setattr('mmengine.runner.Runner.train', lambda self: pytest.fail('it begins'))
    path = str(ROOT / 'configs/pretrain/hap/hap-small_any-backbone_1xb32-amp-coslr_folder.py')
    options = {
        'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.holdout': 0,
    }
    wanted = (
        rf'in masked_a, masked_b, and 5 of the 20 training samples have no keypoints in '
        rf'.*k\.npz, such as train/0000/000\.jpg: .* --cfg-options {OPTIONS} '
    )
    with pytest.raises(StartError, match=wanted):
        launch.train(path, str(tmp_path / 'work'), validate=False, options=options)
    logging.shutdown()


class TestSets:
    def test_all_or_none_that_needs_them(self, folder, tmp_path):
        whole = PersonImages(str(folder), keypoints=write(folder, tmp_path / 'k.npz'))
        check_all_have_keypoints(whole, recipe(None, 'error'))
        part = PersonImages(str(folder), keypoints=write(folder, tmp_path / 'p.npz', [3]))
        check_all_have_keypoints(part, recipe('template', 'block'))
        check_all_have_keypoints(part, Config({'model': {}}))
        with pytest.raises(StartError, match=r'in masked_b, and 1 of the 20 .* train/0000/006'):
            check_all_have_keypoints(part, recipe('block', 'error'))
        with pytest.raises(StartError, match=r'options model\S+masked_a\S+=template \(a'):
            check_all_have_keypoints(part, recipe(None, 'template'))

    def test_a_part_of_a_set_that_has_them(self, folder, tmp_path):
        path = write(folder, tmp_path / 'k.npz', [0, 7])
        few = PersonImages(str(folder), keypoints=path, indices=[1, 2, 3])
        assert few.without_keypoints() == []
        check_all_have_keypoints(few, recipe(None, None))
        assert PersonImages(
            str(folder), keypoints=path, indices=[1, 7]
        ).without_keypoints() == [1]

    def test_images_in_wrappers(self, folder, tmp_path):
        fill(tmp_path / 'other', 6)
        whole = PersonImages(str(folder), keypoints=write(folder, tmp_path / 'k.npz'))
        path = write(tmp_path / 'other', tmp_path / 'o.npz', [5])
        other = PersonImages(str(tmp_path / 'other'), keypoints=path)
        with pytest.raises(StartError, match=r'1 of the 6 training samples'):
            check_all_have_keypoints(RepeatDataset(other, 2), recipe(None, None))
        joined = ConcatDataset([whole, other])
        with pytest.raises(StartError, match=r'1 of the 26 training samples .*o\.npz, such as'):
            check_all_have_keypoints(joined, recipe(None, None))
        without = ConcatDataset([whole, PersonImages(str(tmp_path / 'other'))])
        with pytest.raises(
            StartError, match=r'6 of the 26 .* in train_dataloader\.dataset\.key'
        ):
            check_all_have_keypoints(without, recipe(None, None))
