"""Measures of dense predictions, by hand and by a second way."""

import numpy as np
import pytest
import torch

from saip.evaluation.dense import count_keypoints, count_pixels, enlarge_scores, mean_iou


def test_overlap_of_a_case_by_hand():
    truth = torch.tensor([[[0, 0]], [[1, 1]]])
    predicted = torch.tensor([[[0, 1]], [[1, 2]]])
    counts = count_pixels(predicted, truth, 4)
    right, there, said = counts.unbind(1)
    assert right.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert there.tolist() == [[2, 0, 0, 0], [0, 2, 0, 0]]
    assert said.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0]]
    # Class 0: 1 of 2, class 1: 1 of 3; classes 2 and 3 occur in no annotation.
    assert mean_iou(counts.sum(0)) == pytest.approx((1 / 2 + 1 / 3) / 2)
    # One by one: 1 of 2 in both.
    assert mean_iou(counts).tolist() == [0.5, 0.5]
    assert np.isnan(mean_iou(np.zeros((3, 4))))


def test_overlap_is_that_of_sets_of_pixels():
    truth, predicted = torch.randint(0, 5, (2, 3, 16, 8))
    overlaps = []
    for number in range(5):
        mine, theirs = truth.numpy() == number, predicted.numpy() == number
        overlaps.append((mine & theirs).sum() / (mine | theirs).sum())
    counts = count_pixels(predicted, truth, 5).sum(0)
    assert mean_iou(counts) == pytest.approx(np.mean(overlaps))


def test_scores_are_enlarged_between_the_patches():
    scores = torch.tensor([[[2.0, 0.0], [-1.0, 0.0]]])  # two patches side by side
    # The score of class 0 falls from 2 at the edge between pixels 1 and 2 to -1 four pixels later:
    # it is 0 after 2 + 4 * 2 / 3 = 4.67 pixels, behind the center of pixel 4.
    found = enlarge_scores(scores, (1, 2), (2, 8))
    assert found.tolist() == [[[0, 0, 0, 0, 0, 1, 1, 1]] * 2]


def test_distances_are_shares_of_the_height():
    points = torch.tensor([[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]])
    away = torch.tensor([[[0.15, 0.0], [0.0, 0.15], [0.25, 0.0], [9.0, 9.0]]])
    labeled = torch.tensor([[True, True, True, False]])
    aspect = torch.tensor([0.5])  # half as wide as high: .15 widths are .075 heights
    assert count_keypoints(points + away, points, labeled, aspect).tolist() == [[3, 1]]
    assert count_keypoints(points, points, labeled, aspect).tolist() == [[3, 3]]
    with pytest.raises(ValueError, match='no keypoint'):
        count_keypoints(points, points, labeled & False, aspect)
