import numpy as np
import pytest
import torch
from PIL import Image

from saip.views.resample import (
    apply_separable,
    blur_kernels,
    blur_taps,
    blur_weights,
    crop_taps,
    crop_weights,
    tap_count,
)
from tests.test_views.view_recipes import make_batch

BOXES = torch.tensor(
    [
        # top, left, bottom, right on 160 x 80
        [0.0, 0.0, 160.0, 80.0],
        [10.5, 3.25, 150.75, 70.5],
        [40.0, 20.0, 71.3, 40.9],
        [100.0, 60.0, 160.0, 80.0],
    ]
)


@pytest.mark.parametrize('size', [(128, 64), (40, 20), (224, 224)])
@pytest.mark.parametrize('sparse', [True, False])
def test_crop_and_resize_follow_pillow(size, sparse):
    images = make_batch(4)['canvas']
    top, left, bottom, right = BOXES.T
    columns = crop_weights(left, right, size[1], 80)
    if sparse:
        rows = crop_taps(top, bottom, size[0], 160, tap_count(160 / size[0]))
    else:
        rows = crop_weights(top, bottom, size[0], 160)
    rows_first = images.permute(0, 2, 1, 3).float()
    drawn = apply_separable(rows_first, None, rows, columns, size).round().clamp(0, 255)
    for i, (y0, x0, y1, x1) in enumerate(BOXES.tolist()):
        pillow = Image.fromarray(images[i].permute(1, 2, 0).numpy())
        expected = pillow.resize(size[::-1], Image.Resampling.BICUBIC, box=(x0, y0, x1, y1))
        error = np.abs(drawn[i].permute(1, 2, 0).numpy() - np.asarray(expected, np.float32))
        assert error.max() <= 2
        assert error.mean() < 0.3


def test_flip_reverses_the_columns():
    start, stop = torch.tensor([3.0, 3.0]), torch.tensor([60.0, 60.0])
    weights = crop_weights(start, stop, 32, 80, torch.tensor([False, True]))
    assert torch.equal(weights[1], weights[0].flip(0))


def test_source_chooses_the_image():
    images = make_batch(3)['canvas'].permute(0, 2, 1, 3).float()
    start, stop = torch.zeros(2), torch.full((2,), 80.0)
    rows = torch.eye(160).expand(2, -1, -1)
    columns = crop_weights(start, stop, 80, 80)
    drawn = apply_separable(images, torch.tensor([2, 0]), rows, columns, (160, 80))
    assert torch.allclose(drawn, images[[2, 0]].permute(0, 2, 1, 3), atol=1e-3)


def test_a_row_is_the_cubic_kernel_of_the_distances():
    """Keys' kernel as published, a = -0.5, widened by the reduction of 2.5."""
    start, stop = torch.tensor([4.25], dtype=torch.float64), torch.tensor([54.25])
    weights = crop_weights(start, stop.double(), 20, 80)[0]
    for row in (0, 7, 19):
        x = abs(np.arange(80) + 0.5 - (4.25 + (row + 0.5) * 2.5)) / 2.5
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        kernel = np.where(x < 1, near, np.where(x < 2, far, 0))
        np.testing.assert_allclose(weights[row], kernel / kernel.sum(), rtol=0, atol=1e-12)


def test_several_kinds_of_one_image_in_one_product():
    images = make_batch(2)['canvas'].permute(0, 2, 1, 3).double()
    rng = torch.Generator().manual_seed(0)
    rows, columns = (
        torch.rand(6, out, size, generator=rng, dtype=torch.float64)
        for out, size in ((5, 160), (3, 80))
    )
    drawn = apply_separable(images, None, rows, columns, (5, 3))
    for view in range(6):
        expected = rows[view] @ images[view % 2].transpose(0, 1) @ columns[view].T
        torch.testing.assert_close(drawn[view], expected)


def test_blur_repeats_the_edge():
    kernels = blur_kernels(torch.tensor([0.4, 2.0]))
    matrix, taps = blur_weights(kernels, 20), blur_taps(kernels, 20)
    dense = torch.zeros(2, 20, 20).scatter_add_(2, taps.index, taps.weight.contiguous())
    assert torch.allclose(matrix, dense, atol=1e-6)
    assert torch.allclose(matrix.sum(-1), torch.ones(2, 20))
    offsets = torch.arange(20.0) - 10
    gauss = torch.exp(-(offsets**2) / 8)
    assert torch.allclose(matrix[1, 10], gauss / gauss.sum(), atol=2e-3)
