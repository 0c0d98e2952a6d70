"""Targets and predictions against restatements pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from saip.downstream.human_parsing.crops import crop_prediction, crop_targets, trim


def slow_targets(maps, boxes, people, side):
    """The label of the pixel below each cell's center, by loops."""
    found = np.zeros((len(boxes), side, side), int)
    for number, ((x0, y0, x1, y1), person) in enumerate(zip(boxes, people, strict=True)):
        for i in range(side):
            for j in range(side):
                column = math.floor(x0 + (j + 0.5) * (x1 - x0) / side)
                row = math.floor(y0 + (i + 0.5) * (y1 - y0) / side)
                if 0 <= row < maps.shape[1] and 0 <= column < maps.shape[2]:
                    found[number, i, j] = maps[person, row, column]
    return found


def slow_prediction(probabilities, box, size):
    """Labels of a whole image: bilinear between the centers of cells, whose border goes on."""
    labels = np.zeros(size, int)
    x0, y0, x1, y1 = box
    side = probabilities.shape[1]
    for row in range(size[0]):
        for column in range(size[1]):
            if not (x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1):
                continue
            i = min(max((row + 0.5 - y0) / (y1 - y0) * side - 0.5, 0), side - 1)
            j = min(max((column + 0.5 - x0) / (x1 - x0) * side - 0.5, 0), side - 1)
            top, left = min(int(i), side - 2), min(int(j), side - 2)
            u, v = i - top, j - left
            mixed = (
                (1 - u) * (1 - v) * probabilities[:, top, left]
                + (1 - u) * v * probabilities[:, top, left + 1]
                + u * (1 - v) * probabilities[:, top + 1, left]
                + u * v * probabilities[:, top + 1, left + 1]
            )
            labels[row, column] = mixed.argmax()
    return labels


def boxes_around(generator, count, size):
    """Boxes of which some reach beyond the image."""
    height, width = size
    first = generator.uniform(-5, [width - 4, height - 4], (count, 2))
    return np.concatenate([first, first + generator.uniform(2, [width, height], (count, 2))], 1)


@pytest.mark.parametrize('side', [1, 5, 16])
def test_targets_pixel_by_pixel(side):
    generator = np.random.default_rng(side)
    maps = generator.integers(0, 20, (3, 20, 31)).astype(np.uint8)
    boxes = boxes_around(generator, 12, (20, 31))
    people = generator.integers(0, 3, 12)
    found = crop_targets(
        torch.from_numpy(maps), torch.from_numpy(boxes), torch.from_numpy(people), side
    )
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), slow_targets(maps, boxes, people, side))
    assert (found == 0).any()
    assert (found > 0).any()


def test_no_box_of_nobody_has_no_target():
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    found = crop_targets(torch.zeros(0, 8, 8, dtype=torch.uint8), *nothing, 16)
    assert found.shape == (0, 16, 16)


def test_other_people_are_background():
    maps = torch.zeros(2, 8, 8, dtype=torch.uint8)
    maps[0, :, :4], maps[1, :, 4:] = 5, 9
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 2)
    found = crop_targets(maps, box, torch.tensor([0, 1]), 8)
    assert found[0].unique().tolist() == [0, 5]
    assert found[1].unique().tolist() == [0, 9]


@pytest.mark.parametrize('seed', range(6))
def test_predictions_pixel_by_pixel(seed):
    generator = np.random.default_rng(seed)
    size = (17, 23)
    probabilities = generator.random((4, 8, 8))
    for box in boxes_around(generator, 4, size):
        crop = crop_prediction(torch.from_numpy(probabilities), tuple(box), size)
        found = np.zeros(size, int)
        height, width = crop.labels.shape
        found[crop.top : crop.top + height, crop.left : crop.left + width] = crop.labels
        assert np.array_equal(found, slow_prediction(probabilities, box, size))


def test_a_box_beside_the_image_has_no_pixels():
    crop = crop_prediction(torch.rand(3, 8, 8), (-9.0, 2.0, -1.0, 5.0), (10, 10))
    assert crop.labels.size == 0


def test_the_target_of_a_box_is_predicted_back():
    """As many cells as pixels: nothing is lost between a map and its square."""
    labels = torch.randint(0, 20, (1, 12, 12), dtype=torch.uint8)
    target = crop_targets(labels, torch.tensor([[0.0, 0, 12, 12]]), torch.tensor([0]), 12)
    probabilities = torch.nn.functional.one_hot(target[0], 20).permute(2, 0, 1).double()
    crop = crop_prediction(probabilities, (0.0, 0.0, 12.0, 12.0), (12, 12))
    assert np.array_equal(crop.labels, labels[0].numpy())


def test_a_trimmed_map_begins_and_ends_with_parts():
    labels = np.zeros((9, 7), np.uint8)
    labels[3, 2], labels[5, 4] = 6, 8
    left, top, small = trim(labels)
    assert (left, top, small.tolist()) == (2, 3, [[6, 0, 0], [0, 0, 0], [0, 0, 8]])
    assert trim(np.zeros((4, 4), np.uint8)).labels.size == 0
