"""AP and AR through the runner, against pycocotools, of drawn and of real people and animals."""

import json

import cv2
import numpy as np
import pytest

from .oracle import coco_scores, evaluate, shifted
from .small import TASKS

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def sigmas(task: str) -> np.ndarray | None:
    """Of the landmarks; None for COCO's 17, which pycocotools knows."""
    if task not in ('wholebody', 'ap10k', 'chimpact'):
        return None
    return np.array(TASKS[task].library._load_metainfo()['sigmas'])


@pytest.mark.parametrize('task', TASKS)
def test_perfect_heatmaps_score_one(drawn, tmp_path, monkeypatch, task):
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    scores = evaluate(task, tmp_path, monkeypatch)
    prefix = TASKS[task].prefix
    assert scores[f'{prefix}/AP'] == pytest.approx(1)
    assert scores[f'{prefix}/AR'] == pytest.approx(1)


@pytest.mark.parametrize('task', TASKS)
def test_scores_are_those_of_pycocotools(drawn, tmp_path, monkeypatch, task):
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    scores = evaluate(task, tmp_path, monkeypatch, shifted)
    prefix, landmarks, tested = TASKS[task][1:4]
    results = tmp_path / 'results.keypoints.json'
    precision, recall = coco_scores(drawn / tested, results, landmarks, sigmas(task))
    assert 0.02 < precision < 0.95
    assert precision != recall
    assert scores[f'{prefix}/AP'] == pytest.approx(precision, abs=1e-9)
    assert scores[f'{prefix}/AR'] == pytest.approx(recall, abs=1e-9)


def test_a_image_shows_the_skeleton_of_a_person(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    evaluate('coco', tmp_path, monkeypatch, show_dir=tmp_path / 'shown')
    document = json.loads((drawn / TASKS['coco'].tested).read_text())
    people = [row for row in document['annotations'] if row['num_keypoints']]
    assert len(list((tmp_path / 'shown').iterdir())) == len(people)
    row = next(row for row in people if row['image_id'] == document['images'][0]['id'])
    name = document['images'][0]['file_name']
    before = cv2.imread(str(drawn / 'coco/val2017' / name)).astype(int)
    after = cv2.imread(str(tmp_path / 'shown' / name.replace('.jpg', '_0.jpg'))).astype(int)
    changed = np.abs(after - before).max(2)
    marks = np.array(row['keypoints']).reshape(-1, 3)
    height, width = changed.shape
    for x, y, visible in marks:
        if visible and x < width and y < height:
            assert changed[y, x] > 40
    x, y, w, h = (int(value) for value in row['bbox'])
    outside = np.ones_like(changed, bool)
    outside[max(y - 8, 0) : y + h + 8, max(x - 8, 0) : x + w + 8] = False
    assert np.median(changed[outside]) < 5
