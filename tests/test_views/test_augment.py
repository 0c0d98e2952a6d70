"""Flip and colors belong to a view, not to the recipe."""

import numpy as np
import pytest
import torch

from saip.views import Augment, Recipe, ReferenceOps, render
from saip.views.augment import NUMBERS, Jitter, build_augment
from tests.test_views.view_recipes import draw_plan, images_of, make_batch, make_ops

EVERYTHING = {
    **{'jitter': {'probability': 1.0}, 'gray': 1.0, 'flip': 1.0, 'blur': 1.0, 'solarize': 1.0}
}


def make_views(views, count: int = 4, **ops):
    recipe, batch = Recipe((128, 64), 16, views), make_batch(count)
    plan = draw_plan(recipe, batch)
    return plan, images_of(render(recipe, plan, batch['canvas'], recipe.names, make_ops(**ops)))


def whole(**options):
    """A crop of the whole image, so that crops of two views are equal up to their colors."""
    return {'type': 'Crop', 'area': (1.0, 1.0), 'aspect': (1e-3, 1e3), **options}


@pytest.mark.parametrize('kind', [None, ReferenceOps])
def test_one_view_is_clean_while_another_of_the_same_crop_is_not(kind):
    """The clean view mirrored is the other with a certain flip; jitter changes a third."""
    jitter = {'jitter': {'probability': 1.0, 'brightness': 0.9}}
    batch = make_batch(4)
    batch['size'] = torch.tensor(
        [[160, 80]] * 4
    )  # the canvas' own, so no crop is drawn smaller
    views = {
        'clean': whole(),
        'flipped': whole(augment={'flip': 1.0}),
        'jittered': whole(augment=jitter),
        'gray': whole(augment={'gray': 1.0}),
        'inverted': whole(augment={'solarize': 1.0}),
    }
    # Of an image of 160x80 the area is fixed, and an aspect other than its own does not fit.
    recipe = Recipe((160, 80), 16, views)
    plan = draw_plan(recipe, batch)
    ops = make_ops(kind) if kind else make_ops()
    images = images_of(render(recipe, plan, batch['canvas'], recipe.names, ops))
    levels = batch['canvas'].float()
    torch.testing.assert_close(images['clean'], levels, atol=1.0, rtol=0)
    torch.testing.assert_close(images['flipped'], levels.flip(-1), atol=1.0, rtol=0)
    inverted = torch.where(levels >= 128, 255 - levels, levels)
    torch.testing.assert_close(images['inverted'], inverted, atol=1.0, rtol=0)
    assert (images['jittered'] - levels).abs().mean(dim=(1, 2, 3)).min() > 1
    red, green, blue = levels.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = luma[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(images['gray'], expected, atol=1.51, rtol=0)


def test_boxes_do_not_depend_on_the_augmentation():
    """The same view with and without colors is cut at the same places."""
    plans = [
        make_views({'anchor': {'type': 'Crop', 'augment': augment}})[0]
        for augment in (None, {}, EVERYTHING)
    ]
    boxes = [plan.draws['anchor'].crops['crop'].box for plan in plans]
    assert (boxes[0] == boxes[1]).all()
    assert (boxes[0] == boxes[2]).all()


def test_nothing_happens_by_default():
    crop = make_views({'anchor': {'type': 'Crop'}}, count=200)[0].draws['anchor'].crops['crop']
    for name in ('flip', 'jitter', 'gray', 'solarize', 'sigma'):
        assert not getattr(crop, name).any(), name
    always = make_views({'anchor': {'type': 'Crop', 'augment': EVERYTHING}}, count=200)[0]
    for name in ('flip', 'jitter', 'gray', 'solarize', 'sigma'):
        assert getattr(always.draws['anchor'].crops['crop'], name).all(), name


def test_strengths_computed_by_hand():
    """All numbers at 3/4: factors are 1 + half of the strength, never below 0."""
    numbers = np.full((1, NUMBERS), 0.75)
    options = {'jitter': {'probability': 0.8, 'brightness': 0.4, 'saturation': 0.1, 'hue': 0.5}}
    drawn = build_augment('view.augment', options).draw(numbers)
    assert drawn['jitter'].tolist() == [True]
    assert drawn['factors'][0] == pytest.approx([1.2, 1.2, 1.05, 0.25])
    assert drawn['flip'].tolist() == drawn['gray'].tolist() == [False]
    strong = Augment(jitter=Jitter(brightness=3.0, hue=0.5)).draw(np.zeros((1, NUMBERS)))
    # 1 - 3 is cut to 0; a hue may go half a circle back, which is no less than -1.
    assert strong['factors'][0] == pytest.approx([0.0, 0.6, 0.8, -0.5])
