import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from saip.views.boxes import NUMBERS, draw_boxes
from saip.views.random import uniforms
from saip.views.sizes import aspect_range


@pytest.mark.parametrize('size', [(300, 120), (128, 64), (200, 200), (390, 118)])
@pytest.mark.parametrize('area', [(0.8, 1.0), (0.05, 0.8)])
def test_statistics_of_torchvision(size, area):
    count, aspect = 3000, (0.4, 0.6)
    numbers = uniforms(0, 'crop', np.arange(count), 0, NUMBERS)
    ours = draw_boxes(numbers, np.tile(size, (count, 1)), area, aspect)
    torch.manual_seed(0)
    image = torch.empty(3, *size)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, list(area), list(aspect)) for _ in range(count)]
    )
    spread = theirs.std(0) + 0.5
    assert np.abs((ours.mean(0) - theirs.mean(0)) / spread).max() < 0.1
    assert np.abs(ours.std(0) - theirs.std(0)).max() < 0.1 * spread.max()


@pytest.mark.parametrize(
    ('size', 'box'),
    [
        ((400, 100), (75, 0, 250, 100)),  # too narrow: whole width, central width / 0.4 rows
        ((100, 300), (0, 120, 100, 60)),  # too wide: whole height, central 0.6 * height columns
    ],
)
def test_central_box_when_nothing_fits(size, box):
    numbers = uniforms(0, 'crop', np.arange(5), 0, NUMBERS)
    boxes = draw_boxes(numbers, np.tile(size, (5, 1)), (0.99, 1.0), (0.4, 0.6))
    assert (boxes == box).all()


def test_boxes_lie_inside():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 500, (2000, 2))
    numbers = uniforms(0, 'crop', np.arange(2000), 0, NUMBERS)
    top, left, height, width = draw_boxes(numbers, sizes, (0.05, 1.0), (0.25, 0.4)).T
    assert min(top.min(), left.min()) >= 0
    assert min(height.min(), width.min()) >= 1
    assert (top + height <= sizes[:, 0]).all()
    assert (left + width <= sizes[:, 1]).all()


def test_aspect_follows_the_anchor_unless_given():
    assert aspect_range((224, 224), None) == (3 / 4, 4 / 3)
    assert aspect_range((256, 128), None) == (0.4, 0.6)
    assert aspect_range((256, 192), None) == (0.4, 0.6)
    assert aspect_range((384, 128), None) == (0.25, 0.4)
    assert aspect_range((320, 128), None) == pytest.approx((0.32, 0.48))
    assert aspect_range((256, 128), (0.5, 2.0)) == (0.5, 2.0)
