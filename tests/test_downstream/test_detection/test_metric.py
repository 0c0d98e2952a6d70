"""AP, MR^-2 and JI by mmdet's metric, as the configuration sets it up, against other ways."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS, DefaultScope

from .brute_force import ScoredImage, average_precision, jaccard_index, miss_rate
from .crowd_files import box, write_odgt
from .small import CONFIG

SIZE = (100, 100)


def metric(path, which='test'):
    settings = dict(Config.fromfile(CONFIG)[f'{which}_evaluator'], ann_file=str(path))
    if which == 'test':
        settings['num_ji_process'] = 2
    with DefaultScope.overwrite_default_scope('mmdet'):
        return METRICS.build(settings)


def xywh(corners):
    x0, y0, x1, y1 = corners
    return [x0, y0, x1 - x0, y1 - y0]


def detections(name, found, size=SIZE):
    """What the detector hands to the metric for one image."""
    instances = dict(
        bboxes=torch.tensor([corners for corners, _ in found]).reshape(-1, 4),
        scores=torch.tensor([score for _, score in found]),
    )
    return dict(img_id=name, ori_shape=size, pred_instances=instances)


def evaluate(tmp_path, images: list[ScoredImage], which='test', size=SIZE):
    records = {
        f'p{number}': [
            *(box(xywh(corners)) for corners in image.people),
            *(box(xywh(corners), tag='mask') for corners in image.ignored),
        ]
        for number, image in enumerate(images)
    }
    evaluator = metric(write_odgt(tmp_path / 'annotation_val.odgt', records), which)
    for number, image in enumerate(images):
        evaluator.process({}, [detections(f'p{number}', image.found, size)])
    scores = evaluator.evaluate(len(images))
    return {key.removeprefix('crowd_human/'): value for key, value in scores.items()}


BY_HAND = [
    ScoredImage(
        people=[(0, 0, 20, 40), (50, 0, 70, 40)],
        ignored=[(0, 60, 100, 100)],
        found=[
            ((0.0, 0.0, 20.0, 40.0), 0.9),
            ((1.0, 0.0, 21.0, 40.0), 0.8),  # the same person again
            ((30.0, 65.0, 40.0, 95.0), 0.7),  # in the region to ignore
            ((50.0, 0.0, 70.0, 40.0), 0.6),
        ],
    ),
    ScoredImage(
        people=[(10, 10, 30, 50)],
        ignored=[],
        found=[((60.0, 60.0, 80.0, 90.0), 0.5), ((10.0, 10.0, 30.0, 50.0), 0.4)],
    ),
]


def test_two_images_by_hand(tmp_path):
    scores = evaluate(tmp_path, BY_HAND)
    # Right, wrong, right, wrong, right of three people: recall 1/3, 1/3, 2/3, 2/3, 1, precision
    # 1, 1/2, 2/3, 1/2, 3/5; two trapezoids have a width.
    area = (1 / 2 + 2 / 3) / 2 / 3 + (1 / 2 + 3 / 5) / 2 / 3
    assert scores['mAP'] == pytest.approx(area, abs=6e-5)
    # False per image 0, 1/2, 1/2, 1, 1: the first seven rates meet a miss of 2/3, two of 1/3.
    assert scores['mMR'] == pytest.approx(2 ** (7 / 9) / 3, abs=6e-5)
    # From the scores above 0.3: 2 pairs of 2 people and 4 - 1 boxes, then 1 pair of 1 and 2.
    assert scores['JI'] == pytest.approx((2 / (2 + 3 - 2) + 1 / (1 + 2 - 1)) / 2, abs=6e-5)


def test_validation_leaves_out_what_is_slow(tmp_path):
    validation, test = (evaluate(tmp_path, BY_HAND, which) for which in ('val', 'test'))
    assert validation == {key: test[key] for key in ('mAP', 'mMR')}


@pytest.mark.parametrize('people', [1, 2, 5])
def test_perfect_detections(tmp_path, people):
    boxes = [(20.0 * n, 10.0, 20.0 * n + 15, 50.0) for n in range(people)]
    found = [(corners, 0.9 - 0.1 * n) for n, corners in enumerate(boxes)]
    scores = evaluate(tmp_path, [ScoredImage(boxes, [], found)])
    # The curve begins at the first of n detections.
    assert scores['mAP'] == pytest.approx(1 - 1 / people, abs=6e-5)
    assert scores['mMR'] == 0
    assert scores['JI'] == pytest.approx(1, abs=6e-5)


def test_nothing_found_but_a_wrong_box(tmp_path):
    scores = evaluate(
        tmp_path, [ScoredImage([(0, 0, 20, 40)], [], [((60.0, 0.0, 80.0, 40.0), 0.9)])]
    )
    assert scores == {'mAP': 0, 'mMR': 1, 'JI': 0}


@pytest.mark.parametrize('found', [[], [((5.0, 65.0, 15.0, 95.0), 0.9)]])
def test_nothing_found_misses_everybody(tmp_path, found):
    """Nor does a detection in a region to ignore count."""
    image = ScoredImage([(0, 0, 20, 40)], [(0, 60, 100, 100)], found)
    scores = evaluate(tmp_path, [image, ScoredImage([(0, 0, 20, 40)], [], [])])
    assert scores == {'mAP': 0, 'mMR': 1, 'JI': 0}


def test_people_cut_off_by_the_border_are_compared_within_the_image(tmp_path):
    image = ScoredImage(
        people=[(-60, 10, 20, 50), (40, 10, 60, 50)],
        ignored=[],
        # 20 of 80 columns: an IoU of 1/4 with the whole box, of 1 with what is in the image.
        found=[((0.0, 10.0, 20.0, 50.0), 0.9), ((40.0, 10.0, 60.0, 50.0), 0.8)],
    )
    scores = evaluate(tmp_path, [image])
    assert scores['mAP'] == pytest.approx(1 / 2, abs=6e-5)
    assert scores['mMR'] == 0


def draw(rng, people, ignored, found) -> ScoredImage:
    """Boxes of 10 to 40 pixels; most detections are near somebody, so that they compete."""

    def boxes(count):
        corner, size = rng.uniform(0, 55, (count, 2)), rng.uniform(10, 40, (count, 2))
        return np.hstack([corner, corner + size]).round(2)

    persons = boxes(people)
    near = persons[rng.integers(0, people, found)] + rng.normal(0, 3, (found, 4))
    far = boxes(found)
    picked = np.where(rng.random((found, 1)) < 0.7, near, far).clip(0, 98)
    picked[:, 2:] = np.maximum(picked[:, 2:], picked[:, :2] + 1)
    scores = rng.permutation(found) / found + 0.001
    return ScoredImage(
        [tuple(row) for row in persons.tolist()],
        [tuple(row) for row in boxes(ignored).tolist()],
        list(zip(map(tuple, picked.tolist()), scores.tolist(), strict=True)),
    )


@pytest.mark.parametrize('seed', range(6))
def test_agrees_with_a_second_implementation(tmp_path, seed):
    rng = np.random.default_rng(seed)
    # Scores of different images must differ, too: the order of equals is nowhere defined.
    images = [draw(rng, 8, 2, found) for found in (29, 31, 37)]
    scores = evaluate(tmp_path, images, 'val')
    assert scores['mAP'] == pytest.approx(average_precision(images), abs=6e-5)
    assert scores['mMR'] == pytest.approx(miss_rate(images), abs=6e-5)
    assert 0.1 < scores['mAP'] < 0.9
    assert 0.1 < scores['mMR'] < 1


@pytest.mark.parametrize('seed', range(3))
def test_jaccard_index_agrees_with_a_second_implementation(tmp_path, seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(4):
        image = draw(rng, 4, 0, 7)
        # What is to be ignored is apart from people, so that the choice among equally large sets
        # of pairs does not matter.
        region, boxes = (
            (100.0, 0.0, 140.0, 100.0),
            [(105.0, 9.0, 125.0, 40.0), (70, 9.0, 110.0, 40.0)],
        )
        found = [*image.found, (boxes[0], 0.95), (boxes[1], 0.85)]
        images.append(ScoredImage(image.people, [region], found))
    scores = evaluate(tmp_path, images, size=(100, 150))
    assert scores['JI'] == pytest.approx(jaccard_index(images), abs=6e-5)
    assert 0.1 < scores['JI'] < 0.9


def test_the_second_implementation_agrees_with_the_hand():
    assert average_precision(BY_HAND) == pytest.approx(7 / 36 + 11 / 60)
    assert miss_rate(BY_HAND) == pytest.approx(math.pow(2, 7 / 9) / 3)
    assert jaccard_index(BY_HAND) == pytest.approx(7 / 12)


def test_another_order_than_the_files_is_refused(tmp_path):
    path = write_odgt(
        tmp_path / 'annotation_val.odgt', {name: [box([0, 0, 9, 9])] for name in ('a', 'b')}
    )
    evaluator = metric(path, 'val')
    evaluator.process({}, [detections('b', []), detections('a', [])])
    with pytest.raises(AssertionError, match='shuffle=False'):
        evaluator.evaluate(2)
