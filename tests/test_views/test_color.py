import colorsys
import itertools

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter

from saip.views import color
from saip.views.device import gaussian_blur
from tests.test_views.view_recipes import make_batch

FALLS = torch.from_numpy(color.HUE_FALLS)


def adjust(
    images: torch.Tensor, orders: np.ndarray, factors: np.ndarray, who=True
) -> torch.Tensor:
    """Jitter ``who`` of the images in these orders."""
    plan = color.JitterPlan.of(np.broadcast_to(who, len(images)), factors, orders)
    blends, shift = torch.from_numpy(plan.blends), torch.from_numpy(plan.shift)
    turned = [torch.from_numpy(rows) for rows in plan.turned]
    kinds = (x.to(images.dtype) for x in (blends, shift, FALLS))
    blends, shift, falls = kinds
    return color.jitter(images.clone(), blends, turned, shift, falls)


def only(op: int):
    """One of the operations as a function of images and factors; the others do nothing."""

    def apply(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        factors = np.tile([1.0, 1.0, 1.0, 0.0], (len(images), 1))
        factors[:, op] = factor.numpy()
        return adjust(images, np.tile(np.arange(4), (len(images), 1)), factors)

    return apply


# Operation, its counterpart on Pillow images, factors, and the largest allowed mean and
# single differences in gray levels. Pillow's hue has 256 steps, its blur is three box blurs.
CASES = [
    (only(0), TF.adjust_brightness, (0.6, 1.0, 1.4), 0.51, 1.01),
    (only(1), TF.adjust_contrast, (0.6, 1.0, 1.4), 0.75, 1.5),
    (only(2), TF.adjust_saturation, (0.8, 1.0, 1.2), 0.55, 1.5),
    (only(3), TF.adjust_hue, (-0.1, 0.05, 0.1), 2, 15),
    (lambda x, f: color.grayscale(x), lambda p, f: TF.to_grayscale(p, 3), (1.0,), 0.3, 0.51),
    (lambda x, f: color.solarize(x), lambda p, f: TF.solarize(p, 128), (1.0,), 1e-6, 1e-6),
    (
        lambda x, f: gaussian_blur(x, f, sparse=True),
        lambda p, f: p.filter(ImageFilter.GaussianBlur(f)),
        (0.1, 0.5, 1.0, 2.0),
        0.7,
        4,
    ),
]


@pytest.mark.parametrize(
    ('ours', 'theirs', 'factors', 'mean', 'most'),
    CASES,
    ids=['brightness', 'contrast', 'saturation', 'hue', 'gray', 'solarize', 'blur'],
)
def test_operations_follow_torchvision_on_pillow_images(ours, theirs, factors, mean, most):
    images = make_batch(4)['canvas']
    for factor in factors:
        drawn = ours(images.float(), torch.full((4,), factor))
        for image, result in zip(images, drawn, strict=True):
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
            expected = np.asarray(theirs(pillow, factor), dtype=np.float32)
            error = np.abs(result.permute(1, 2, 0).numpy() - expected)
            assert error.mean() < mean, factor
            assert error.max() < most, factor


def test_hue_is_exact_on_a_known_color():
    red = torch.tensor([200.0, 40.0, 40.0]).view(1, 3, 1, 1)
    turned = color.hue(red, torch.tensor([1 / 3]), FALLS.float()).flatten().tolist()
    assert turned == pytest.approx([40, 200, 40], abs=1e-3)
    half = color.hue(red, torch.tensor([1 / 12]), FALLS.float()).flatten().tolist()
    assert half == pytest.approx([200, 120, 40], abs=1e-3)
    gray = torch.full((1, 3, 2, 2), 77.0)
    assert torch.equal(color.hue(gray, torch.tensor([0.3]), FALLS.float()), gray)


def one_by_one(
    image: torch.Tensor, order: tuple[int, ...], factors: np.ndarray
) -> torch.Tensor:
    """Jitter of one image (3, h, w) in float64, each operation as its definition says."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    for op in order:
        factor, luma = float(np.float32(factors[op])), (image * weights).sum(0)
        if op == 3:
            hsv = np.stack([colorsys.rgb_to_hsv(*p) for p in image.flatten(1).T.numpy() / 255])
            rgb = [colorsys.hsv_to_rgb((h + factor) % 1, s, v) for h, s, v in hsv]
            image = torch.tensor(rgb, dtype=torch.float64).T.view(image.shape) * 255
            continue
        mean = (luma.mean() + 0.5).floor()
        other = (0.0 * luma, mean.expand_as(luma), luma)[op]
        image = (other + factor * (image - other)).clamp(0, 255)
    return image


def test_jitter_keeps_each_image_to_its_own_order():
    orders = np.array([*itertools.permutations(range(4)), (0, 1, 2, 3)])
    images = make_batch(len(orders))['canvas'][:, :, :12, :7].double()
    factors = np.random.default_rng(0).uniform(0.6, 1.4, (len(orders), 4))
    factors[:, 3] -= 1
    who = np.arange(len(orders)) < len(orders) - 1  # the last image is left alone
    drawn = adjust(images, orders, factors, who)
    for i, order in enumerate(orders[:-1]):
        expected = one_by_one(images[i], order, factors[i])
        torch.testing.assert_close(drawn[i], expected, rtol=0, atol=1e-10)
    assert torch.equal(drawn[-1], images[-1])
