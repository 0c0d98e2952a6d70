import numpy as np
import pytest
import torch

from saip.downstream.part_segmentation.affine import (
    fit,
    restore_labels,
    warp_image,
    warp_labels,
)
from saip.downstream.part_segmentation.transforms import IGNORED, PersonAffine

from .lip_files import part_map


def restored(labels, matrix, crop):
    there = warp_labels(labels, matrix, crop, IGNORED)
    return restore_labels(torch.from_numpy(there), matrix, labels.shape).numpy()


@pytest.mark.parametrize('image', [(60, 30), (31, 77), (50, 50), (1, 9)])
@pytest.mark.parametrize('crop', [(96, 96), (128, 80), (160, 200)])
def test_labels_come_back_from_a_larger_crop_without_a_change(image, crop):
    labels = np.random.default_rng(0).integers(0, 20, image, np.uint8)
    assert np.array_equal(restored(labels, fit(image, crop), crop), labels)


@pytest.mark.parametrize('degrees', [-60.0, -17.0, 30.0, 90.0])
def test_rotated_labels_come_back(degrees):
    labels = part_map(60, 30)
    crop = (240, 240)
    back = restored(labels, fit(labels.shape, crop, side=1.25, degrees=degrees), crop)
    inside = back != IGNORED
    assert inside.mean() > 0.99
    # Only pixels at the borders of parts may fall to the other side, by rounding.
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differ = np.diff(labels, axis=axis) != 0
        border |= np.pad(differ, [(0, int(axis == a)) for a in (0, 1)])
        border |= np.pad(differ, [(int(axis == a), 0) for a in (0, 1)])
    assert np.array_equal(back[inside & ~border], labels[inside & ~border])
    assert (back == labels)[inside].mean() > 0.97


def test_labels_from_a_smaller_crop_are_those_of_the_nearest_pixel():
    labels = part_map(64, 64)
    crop = (32, 32)
    matrix = fit(labels.shape, crop)
    there = warp_labels(labels, matrix, crop, IGNORED)
    back = restore_labels(torch.from_numpy(there), matrix, labels.shape).numpy()
    assert np.array_equal(back, np.kron(there, np.ones((2, 2), np.uint8)))


def test_the_whole_image_is_in_the_middle_of_the_crop():
    # 40 x 20 in 80 x 80: twice as large, 20 columns free on both sides.
    white = np.full((40, 20, 3), 255, np.uint8)
    image = warp_image(white, fit((40, 20), (80, 80)), (80, 80))
    assert (image[1:-1, 21:59] == 255).all()
    assert not image[:, :19].any()
    assert not image[:, 61:].any()
    labels = warp_labels(
        np.ones((40, 20), np.uint8), fit((40, 20), (80, 80)), (80, 80), IGNORED
    )
    assert (labels[:, 20:60] == 1).all()
    assert (labels[:, :20] == IGNORED).all()
    assert (labels[:, 60:] == IGNORED).all()


def test_a_larger_box_makes_the_image_smaller():
    labels = warp_labels(
        np.ones((40, 40), np.uint8), fit((40, 40), (80, 80), side=2.0), (80, 80), IGNORED
    )
    assert (labels == 1).sum() == 40 * 40


def test_rotation_is_clockwise_about_the_center():
    labels = np.zeros((41, 41), np.uint8)
    labels[5, 20] = 3  # above the center
    turned = warp_labels(labels, fit((41, 41), (41, 41), degrees=90.0), (41, 41), IGNORED)
    assert np.argwhere(turned == 3).tolist() == [[20, 35]]  # right of it


def test_without_randomness_the_labels_may_be_loaded_later():
    results = {'img': np.zeros((40, 20, 3), np.uint8)}
    results = PersonAffine(size=(64, 64))(results)
    assert results['img'].shape == (64, 64, 3)
    assert results['img_shape'] == (64, 64)
    assert np.array_equal(results['affine'], fit((40, 20), (64, 64)))


def test_draws_are_those_of_schp():
    np.random.seed(0)  # noqa: NPY002
    transform = PersonAffine((64, 64), scale_std=0.25, rotation_std=30.0, rotation_prob=0.6)
    draws = np.array([transform._draw() for _ in range(4000)])
    sides, degrees = draws.T
    assert sides.min() == pytest.approx(0.75)
    assert sides.max() == pytest.approx(1.25)
    # Beyond one standard deviation lie 31.7 %: half of them at each end.
    assert (sides == 0.75).mean() == pytest.approx(0.159, abs=0.02)
    assert (degrees == 0).mean() == pytest.approx(0.4, abs=0.03)
    assert np.abs(degrees).max() == pytest.approx(60)
    turned = degrees[degrees != 0]
    assert (np.abs(turned) == 60).mean() == pytest.approx(0.0455, abs=0.012)


def test_image_and_labels_are_warped_alike():
    labels = part_map(60, 40)
    image = np.repeat(labels[..., None], 3, 2) * 10
    np.random.seed(3)  # noqa: NPY002
    transform = PersonAffine((192, 192), scale_std=0.25, rotation_std=30.0, rotation_prob=1.0)
    results = transform({'img': image, 'gt_seg_map': labels})
    inside = results['gt_seg_map'] != IGNORED
    agree = results['img'][..., 0][inside] == results['gt_seg_map'][inside] * 10
    assert agree.mean() > 0.9  # the rest is interpolated between two parts
