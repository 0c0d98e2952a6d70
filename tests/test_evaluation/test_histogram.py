"""Baselines without a network."""

from __future__ import annotations

import colorsys

import pytest
import torch

from saip.evaluation.histogram import (
    HSV_BINS,
    STRIPES,
    CoarsePixels,
    ColorHistogram,
    coarse_pixels,
    color_histogram,
    rgb_to_hsv,
)


def random_images(batch=3, size=(50, 21)):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)


def test_hsv_equals_the_standard_library():
    images = random_images(2, (6, 5)).float() / 255
    images[0, :, 0, 0] = 0.5
    images[0, :, 0, 1] = 0

    result = rgb_to_hsv(images)

    for batch, row, column in [
        (0, 0, 0),
        (0, 0, 1),
        *((1, r, c) for r in range(6) for c in range(5)),
    ]:
        expected = colorsys.rgb_to_hsv(*images[batch, :, row, column].tolist())
        assert result[batch, :, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_histogram_equals_a_loop_over_pixels():
    image = random_images(1, (9, 4))
    expected = torch.zeros(STRIPES, *HSV_BINS)
    for row in range(9):
        for column in range(4):
            hsv = colorsys.rgb_to_hsv(*(image[0, :, row, column] / 255).tolist())
            cell = [
                min(int(value * bins), bins - 1)
                for value, bins in zip(hsv, HSV_BINS, strict=True)
            ]
            expected[(row * STRIPES // 9, *cell)] += 1
    expected /= expected.sum(dim=(1, 2, 3), keepdim=True)

    result = color_histogram(image)[0]

    torch.testing.assert_close(result.square() * STRIPES, expected.flatten())


def test_rows_are_independent_of_the_batch_and_of_unit_length():
    images = random_images()

    together = color_histogram(images)

    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(together[1], color_histogram(images[1:2])[0])


def test_coarse_pixels_are_block_means():
    images = random_images(1, (32, 16))
    means = (images.float() / 127.5 - 1).reshape(1, 3, 16, 2, 8, 2).mean(dim=(3, 5))

    result = coarse_pixels(images)[0]

    expected = means.flatten() / means.norm()
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(
    ('baseline', 'describe'),
    [(ColorHistogram, color_histogram), (CoarsePixels, coarse_pixels)],
)
def test_baselines_read_normalized_images(baseline, describe):
    images = random_images()
    mean, std = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]
    normalized = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    token = baseline(mean, std).encode(normalized).require_image_token()

    torch.testing.assert_close(token, describe(images))
