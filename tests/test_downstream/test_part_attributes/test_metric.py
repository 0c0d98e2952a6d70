"""The metric against the published evaluator, and against counts by hand."""

import copy
import json
import time
from pathlib import Path

import numpy as np
import pytest

from saip.datasets.fashionpedia import ATTRIBUTED
from saip.downstream.part_attributes import FashionpediaMetric
from saip.downstream.part_attributes.scores import macro_f1

from .generated import IDS, detections, document, samples


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
    assert evaluator.FPParams.catsWithAttributes  # as in the issue: a fixed list of 18
    assert set(evaluator.FPParams.catsWithAttributes) == set(ATTRIBUTED)
    return dict(AP=100 * evaluator.results['AP'], AP_iou=100 * evaluator.resultDet['AP'])


@pytest.mark.parametrize('seed', [0, 1])
def test_it_equals_the_published_evaluator(tmp_path, monkeypatch, seed):
    content = document(8, seed)
    found = detections(content, seed + 10)
    path = write(tmp_path, content)
    scores = ours(path, samples(content, found))
    for kind in ('bbox', 'segm'):
        expected = published(path, found, kind, monkeypatch)
        assert 3 < expected['AP'] < expected['AP_iou'] < 97
        for name, value in expected.items():
            assert scores[f'fashionpedia/{kind}_{name}'] == pytest.approx(value, abs=1e-9)
