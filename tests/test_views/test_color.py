import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter

from saip.views import color
from saip.views.device import gaussian_blur
from tests.test_views.view_recipes import make_batch

# Operation, its counterpart on Pillow images, factors, and the largest allowed mean and
# single differences in gray levels. Pillow's hue has 256 steps, its blur is three box blurs.
CASES = [
    (color.brightness, TF.adjust_brightness, (0.6, 1.0, 1.4), 0.51, 1.01),
    (color.contrast, TF.adjust_contrast, (0.6, 1.0, 1.4), 0.75, 1.5),
    (color.saturation, TF.adjust_saturation, (0.8, 1.0, 1.2), 0.55, 1.5),
    (color.hue, TF.adjust_hue, (-0.1, 0.05, 0.1), 2, 15),
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
    turned = color.hue(red, torch.tensor([1 / 3])).flatten().tolist()
    assert turned == pytest.approx([40, 200, 40], abs=1e-3)
    half = color.hue(red, torch.tensor([1 / 12])).flatten().tolist()
    assert half == pytest.approx([200, 120, 40], abs=1e-3)
    gray = torch.full((1, 3, 2, 2), 77.0)
    assert torch.equal(color.hue(gray, torch.tensor([0.3])), gray)


def test_jitter_keeps_each_image_to_its_own_order():
    images = make_batch(3)['canvas'].float()
    factors = torch.tensor([[1.4, 0.6, 1.2, 0.1], [0.7, 1.3, 0.8, -0.1], [1.0, 1.0, 1.0, 0.0]])
    orders = np.array([[0, 1, 2, 3], [3, 1, 0, 2]])  # the third image is left alone
    places = [
        [torch.from_numpy(np.flatnonzero(orders[:, place] == op)) for op in range(4)]
        for place in range(4)
    ]
    drawn = color.jitter(images.clone(), factors, places)
    for i, order in enumerate(orders):
        expected = images[i : i + 1]
        for op in order:
            expected = color.ADJUSTMENTS[op](expected, factors[i : i + 1, op])
        assert torch.allclose(drawn[i : i + 1], expected, atol=1e-3)
    assert torch.equal(drawn[2], images[2])
