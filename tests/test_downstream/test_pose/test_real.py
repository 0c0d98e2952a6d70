"""Real people and animals in the public formats go through the loaders and the evaluators."""

import json

import pytest
from mmengine.registry import DATASETS, DefaultScope

from saip.datasets.crops import DataError
from saip.engine import launch
from tests.tiny import NO_REALDATA, REALDATA

from .oracle import evaluate
from .small import TASKS, path, resized, short

REAL = REALDATA / 'native'
SAMPLES = REAL / 'mmpose_tests'
FILES = {
    'coco': 'coco/test_coco.json',
    'wholebody': 'coco/test_coco_wholebody.json',
    'humanart': 'humanart/test_humanart.json',
    'ap10k': 'ap10k/test_ap10k.json',
}
pytestmark = [
    pytest.mark.usefixtures('fresh_mmengine'),
    pytest.mark.skipif(not SAMPLES.is_dir(), reason=NO_REALDATA),
]


@pytest.fixture
def place(tmp_path):
    """A function from a task to options that make it read the real sample."""

    def make(task):
        folder, name = FILES[task].split('/')
        root = SAMPLES / folder
        if task == 'humanart':  # names begin with HumanArt/images
            if not (tmp_path / 'HumanArt').is_dir():
                (tmp_path / 'HumanArt').mkdir()
                (tmp_path / 'HumanArt/images').symlink_to(root)
            name, root = str(root / name), tmp_path
        options = {'test_evaluator.ann_file': str(SAMPLES / FILES[task])}
        for loader in ('val_dataloader', 'test_dataloader'):
            options |= {
                f'{loader}.dataset.data_root': str(root),
                f'{loader}.dataset.ann_file': name,
                f'{loader}.dataset.data_prefix.img': '',
            }
        return options

    return make


@pytest.mark.parametrize('task', FILES)
def test_perfect_heatmaps_of_real_samples_score_one(task, place, tmp_path, monkeypatch):
    scores = evaluate(task, tmp_path, monkeypatch, **place(task))
    prefix = TASKS[task].prefix
    assert scores[f'{prefix}/AP'] == pytest.approx(1)
    assert scores[f'{prefix}/AR'] == pytest.approx(1)


DETECTED = {
    'coco': 'coco/test_coco_det_AP_H_56.json',
    'wholebody': 'coco/test_coco_det_AP_H_56.json',
    'humanart': 'humanart/test_humanart_det_AP_H_56.json',
}


def detected(task, place, **options):
    """The set with the boxes of a detector."""
    both = place(task) | {
        f'test_dataloader.dataset.{key}': value
        for key, value in {'bbox_file': str(SAMPLES / DETECTED[task]), **options}.items()
    }
    cfg = launch.read_config(path(task), both)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return DATASETS.build(cfg.test_dataloader.dataset)


@pytest.mark.parametrize('task', DETECTED)
def test_real_detections_are_read(task, place):
    found = detected(task, place, bbox_corners=task == 'humanart')
    rows = json.loads((SAMPLES / DETECTED[task]).read_text())
    assert len(found) == sum(row['category_id'] == 1 for row in rows) > 10
    sample = found[0]
    assert sample['inputs'].shape == (3, 256, 192)
    assert sample['data_samples'].img_id == rows[0]['image_id']


def test_detections_of_humanart_are_corners(place):
    """Of this person, annotated from (469, 829) to (824, 1641); read as sizes: to (1337, 2510)."""
    box = detected('humanart', place, bbox_corners=True).get_data_info(0)['bbox'][0]
    assert box.tolist() == pytest.approx([411.55, 773.52, 925.90, 1736.39], abs=0.01)
    with pytest.raises(
        DataError,
        match=r'test_humanart_det_AP_H_56\.json: 9 of 13 boxes .* the first that of detection 0: '
        r'411.555, 773.518, 925.896, 1736.39 in 1280x1750 pixels\. .*bbox_corners=True',
    ):
        detected('humanart', place)


def test_coco_in_its_public_layout_trains_and_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_DATA', str(REAL))
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    options = resized('coco') | short(tmp_path)
    for loader in ('val_dataloader', 'test_dataloader'):
        options[f'{loader}.dataset.bbox_file'] = None  # the sample has no detections
    launch.train(path('coco'), options=options)
    scores = launch.evaluate(path('coco'), str(tmp_path / 'epoch_1.pth'), options=options)
    assert 0 <= scores['coco/AP'] <= 1
