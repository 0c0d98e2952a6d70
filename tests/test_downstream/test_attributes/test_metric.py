"""Scores of attributes against hand-computed values and plain loops."""

import numpy as np
import pytest
import torch

from saip.downstream.attributes import metric as module
from saip.downstream.attributes.metric import (
    AttributeMetric,
    balanced_accuracies,
    image_scores,
)

# Four images, three attributes, the last of which nobody shows.
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
PREDICTED = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [1, 0, 0]], bool)


def evaluate(predicted, truth, **extra):
    """Scores of the metric; probabilities lie well on either side of the threshold."""
    metric = AttributeMetric()
    metric.dataset_meta = {'classes': tuple(f'a{i}' for i in range(truth.shape[1]))}
    samples = [
        {
            'pred_score': torch.from_numpy(np.where(p, 0.75, 0.25)),
            'gt_score': torch.from_numpy(t).float(),
            **{name: torch.tensor(values[i]) for name, values in extra.items()},
        }
        for i, (p, t) in enumerate(zip(predicted, truth, strict=True))
    ]
    metric.process({}, samples[:3])
    metric.process({}, samples[3:])
    return metric.evaluate(len(samples))


def test_four_images_by_hand():
    # a0: 1 of 2 found, 0 of 2 refused; a1: 2 of 2 and 2 of 2; a2: none to find, 3 of 4 refused.
    by_attribute = [(1 / 2 + 0) / 2, (1 + 1) / 2, (0 + 3 / 4) / 2]
    assert balanced_accuracies(PREDICTED, TRUTH).tolist() == pytest.approx(by_attribute)
    # Common, predicted, true, either: (1 1 1 1), (1 2 2 3), (1 2 1 2), (0 1 0 1).
    accuracy = (1 + 1 / 3 + 1 / 2 + 0) / 4
    precision = (1 + 1 / 2 + 1 / 2 + 0) / 4
    recall = (1 + 1 / 2 + 1 + 0) / 4
    assert evaluate(PREDICTED, TRUTH) == pytest.approx(
        {
            'attributes/mA': 100 * sum(by_attribute) / 3,
            'attributes/accuracy': 100 * accuracy,
            'attributes/precision': 100 * precision,
            'attributes/recall': 100 * recall,
            'attributes/F1': 100 * 2 * precision * recall / (precision + recall),  # not 54.2
        }
    )


def by_loops(predicted, truth):
    """mA and the scores of images, one label at a time."""
    images, attributes = truth.shape
    total = 0.0
    for j in range(attributes):
        counts = {(p, t): 0 for p in (False, True) for t in (False, True)}
        for i in range(images):
            counts[bool(predicted[i, j]), bool(truth[i, j])] += 1
        shown = counts[True, True] + counts[False, True]
        absent = counts[True, False] + counts[False, False]
        found = counts[True, True] / shown if shown else 0
        refused = counts[False, False] / absent if absent else 0
        total += (found + refused) / 2
    shares = {'accuracy': 0.0, 'precision': 0.0, 'recall': 0.0}
    for i in range(images):
        said = {j for j in range(attributes) if predicted[i, j]}
        real = {j for j in range(attributes) if truth[i, j]}
        for name, of in (('accuracy', said | real), ('precision', said), ('recall', real)):
            shares[name] += len(said & real) / len(of) / images if of else 0
    p, r = shares['precision'], shares['recall']
    return {'mA': total / attributes, **shares, 'F1': 2 * p * r / (p + r) if p + r else 0}


@pytest.mark.parametrize('seed', range(5))
def test_against_plain_loops_with_an_absent_attribute(seed):
    generator = np.random.default_rng(seed)
    truth = generator.random((40, 9)) < generator.random(9) * 0.8
    predicted = truth ^ (generator.random((40, 9)) < 0.2)
    truth[:, 4] = False  # absent
    truth[:, 7] = True  # on every image
    truth[3] = False
    predicted[[3, 5]] = False  # an image of nothing and a prediction of nothing
    expected = {f'attributes/{k}': 100 * v for k, v in by_loops(predicted, truth).items()}
    assert evaluate(predicted, truth) == pytest.approx(expected)


def test_an_absent_attribute_gives_half_of_its_true_negatives():
    truth = np.zeros((4, 1), bool)
    assert balanced_accuracies(truth, truth).tolist() == [0.5]
    assert balanced_accuracies(~truth, truth).tolist() == [0]


def test_nothing_predicted_is_no_division_by_zero():
    scores = image_scores(np.zeros_like(TRUTH), TRUTH)
    assert scores == {'accuracy': 0, 'precision': 0, 'recall': 0, 'F1': 0}


def test_a_probability_of_one_half_is_no_prediction():
    metric = AttributeMetric()
    metric.process({}, [{'pred_score': torch.tensor([0.5, 0.51]), 'gt_score': torch.ones(2)}])
    assert metric.results[0]['predicted'].tolist() == [False, True]


def test_the_loss_is_averaged_over_images():
    # Not over batches, which hold three images and one.
    found = evaluate(PREDICTED, TRUTH, loss=[1.0, 2.0, 3.0, 10.0])
    assert found['attributes/loss'] == 4


def test_attributes_without_both_answers_are_named(monkeypatch):
    messages = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: messages.append(text))
    evaluate(PREDICTED, TRUTH)
    assert len(messages) == 1
    assert messages[0].startswith('1 of 3 attributes')
    assert messages[0].endswith(': a2')
    evaluate(PREDICTED[:, :2], TRUTH[:, :2])
    assert len(messages) == 1


def test_mA_is_what_the_best_checkpoint_is_chosen_by():
    assert next(iter(evaluate(PREDICTED, TRUTH))) == 'attributes/mA'
