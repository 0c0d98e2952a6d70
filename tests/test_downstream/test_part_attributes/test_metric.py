"""The metric against the published evaluator, and against counts by hand."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from saip.datasets.fashionpedia import ATTRIBUTED
from saip.downstream.part_attributes import FashionpediaMetric
from saip.downstream.part_attributes.scores import macro_f1
from saip.errors import MissingFileError

from .generated import detections, document, samples


def write(folder: Path, content: dict) -> Path:
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    return path


def ours(path: Path, predicted: list[dict]) -> dict[str, float]:
    metric = FashionpediaMetric(str(path))
    for sample in predicted:
        metric.process({}, [sample])
    return metric.evaluate(len(predicted))


def published(path: Path, found: list[dict], kind: str, monkeypatch) -> dict[str, float]:
    """AP of the package ``fashionpedia``, in percent."""
    evaluation = pytest.importorskip('fashionpedia.fp_eval')
    from fashionpedia.fp import Fashionpedia

    monkeypatch.setattr(np, 'float', float, raising=False)  # which numpy has no longer
    annotated = Fashionpedia(str(path))
    evaluator = evaluation.FPEval(annotated, annotated.loadRes(copy.deepcopy(found)), kind)
    evaluator.run()
    assert set(evaluator.FPParams.catsWithAttributes) == set(ATTRIBUTED)
    return dict(AP=100 * evaluator.results['AP'], AP_iou=100 * evaluator.resultDet['AP'])


@pytest.mark.parametrize('seed', [0, 1])
def test_it_equals_the_published_evaluator(tmp_path, monkeypatch, seed):
    """Ties, crowds, garments found twice, polygons and run lengths, images without anything."""
    content = document(6, seed)
    found = detections(content, seed + 10)
    assert any(row['iscrowd'] for row in content['annotations'])
    assert len({type(row['segmentation']) for row in content['annotations']}) == 2
    path = write(tmp_path, content)
    scores = ours(path, samples(content, found))
    for kind in ('bbox', 'segm'):
        expected = published(path, found, kind, monkeypatch)
        assert 3 < expected['AP'] < expected['AP_iou'] < 97
        for name, value in expected.items():
            assert scores[f'fashionpedia/{kind}_{name}'] == pytest.approx(value, abs=1e-9)


def test_f1_is_the_mean_of_both_sides():
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 12, 9)) < rng.random((2, 12, 1))
    one[:2], other[1:3] = False, False
    one[3], other[3:5] = True, True
    found = macro_f1(one, other)
    for i, j in np.ndindex(12, 12):
        assert found[i, j] == metrics.f1_score(other[j], one[i], average='macro')


def test_f1_by_hand():
    marked = np.zeros((3, 294), bool)
    marked[0, :4], marked[1, 2:6] = True, True  # two in common, two on each side alone
    f1s = macro_f1(marked, marked)
    assert f1s[0, 1] == pytest.approx((2 * 2 / 8 + 2 * 288 / 580) / 2)
    assert f1s[2, 0] == pytest.approx((0 + 2 * 290 / 584) / 2)
    assert f1s[2, 2] == 1  # neither has any
    assert np.array_equal(np.diag(f1s), [1, 1, 1])


def one_image(labels: list[int], attributes: list[list[int]]) -> dict:
    """An image of 40 x 20 pixels with garments of 10 x 10 side by side."""
    rows = [
        dict(
            id=number + 1, image_id=1, category_id=label, attribute_ids=marked, area=100,
            bbox=[10 * number, 0, 10, 10], iscrowd=0,
        )
        for number, (label, marked) in enumerate(zip(labels, attributes, strict=True))
    ]  # fmt: skip
    for row in rows:
        x = row['bbox'][0]
        row['segmentation'] = [[x, 0, x + 10, 0, x + 10, 10, x, 10]]
    content = document(1, most=0)
    content['images'][0].update(width=40, height=20)
    return content | dict(annotations=rows)


def found_in(content: dict, **changes) -> list[dict]:
    """The garments themselves, predicted with score 0.9."""
    found = []
    for row in content['annotations']:
        mask = np.zeros((20, 40), np.uint8, order='F')
        x = row['bbox'][0]
        mask[:10, x : x + 10] = 1
        runs = coco_masks.encode(mask)
        found.append(row | dict(segmentation=runs, score=0.9) | changes)
    return found


def test_a_category_with_attributes_counts_ten_times(tmp_path):
    """One sleeve with a wrong attribute, one shoe whose attributes nobody looks at."""
    sleeve, shoe = 31, 23
    content = one_image([sleeve, shoe], [[204, 157], []])
    found = found_in(content, attribute_ids=[204, 156])
    scores = ours(write(tmp_path, content), samples(content, found))
    # One of the two is in common: F1 is (1/2 + 2 * 291/584) / 2, about 0.748, and reaches five of
    # the ten thresholds. The sleeve has 100 slices, the shoe 10.
    f1 = (1 / 2 + 2 * 291 / (2 * 291 + 2)) / 2
    assert 0.70 < f1 < 0.75
    for kind in ('bbox', 'segm'):
        assert scores[f'fashionpedia/{kind}_AP'] == pytest.approx(100 * (50 + 10) / 110)
        assert scores[f'fashionpedia/{kind}_AP_iou'] == pytest.approx(100)


def test_the_human_and_categories_that_are_not_there_do_not_count(tmp_path):
    content = one_image([31], [[]])
    found = found_in(content)
    path = write(tmp_path, content)
    alone = ours(path, samples(content, found))
    more = [*found, found[0] | dict(category_id=46, score=1.0)]
    more.append(found[0] | dict(category_id=3, score=1.0))
    assert ours(path, samples(content, more)) == alone
    assert list(alone.values()) == pytest.approx([100] * 4)


def test_the_order_of_images_does_not_matter(tmp_path):
    """Two processes do not keep it, and many scores are equal."""
    content = document(8, 5)
    predicted = samples(content, detections(content, 6))
    path = write(tmp_path, content)
    assert ours(path, predicted) == ours(path, predicted[::-1])


def test_nothing_found_and_nothing_to_find(tmp_path):
    content = one_image([31, 23], [[], []])
    path = write(tmp_path, content)
    nothing = ours(path, samples(content, []))
    assert set(nothing.values()) == {0.0}
    content['images'].append(dict(id=2, file_name='2.jpg', width=40, height=20))
    bare = samples(content, found_in(content, image_id=2))[1:]
    scores = ours(write(tmp_path, content), bare)
    assert all(math.isnan(value) for value in scores.values())


def test_annotations_of_another_form_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r'none\.json: no such file'):
        FashionpediaMetric(str(tmp_path / 'none.json'))
