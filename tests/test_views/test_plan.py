import json

import numpy as np
import pytest
import torch

from saip.datasets.views import Clock, ViewPlan, draw_plan
from saip.datasets.views.partners import draw_partners, partner_stride
from saip.datasets.views.random_view import RandomView
from tests.test_views.view_recipes import PRESETS, make_batch, make_recipe


def make_plain_batch(count: int) -> dict:
    """Keys and sizes alone, which is all that a plan is drawn from."""
    rng = np.random.default_rng(count)
    return {
        'key': torch.from_numpy(rng.integers(0, 2**62, count)),
        'size': torch.from_numpy(rng.integers(1, 400, (count, 2))),
    }


def draw(recipe, batch, names=None, rank=0, world_size=1, epoch=0, step=0) -> ViewPlan:
    clock = Clock(3, epoch, step, rank, world_size)
    keys, sizes = batch['key'].numpy(), batch['size'].numpy()
    return draw_plan(recipe, names or recipe.available, keys, sizes, clock)


def rows_of(view: RandomView, rows: np.ndarray, batch: int) -> RandomView:
    kinds = np.arange(len(view.source)) // batch
    chosen = np.concatenate([rows + batch * k for k in np.unique(kinds)])
    return RandomView(**{name: value[chosen] for name, value in vars(view).items()})


def assert_same_draws(left: RandomView, right: RandomView) -> None:
    for name, value in vars(left).items():
        if name != 'source':
            assert (value == getattr(right, name)).all(), name


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize(
    ('count', 'world_size'), [(16, 2), (16, 4), (192, 3), (192, 8), (384, 12), (384, 16)]
)
def test_processes_draw_the_plan_of_one(preset, count, world_size):
    recipe, batch = make_recipe(preset), make_plain_batch(count)
    whole = draw(recipe, batch)
    for rank in range(world_size):
        rows = np.arange(rank, count, world_size)
        share = {name: value[rows] for name, value in batch.items()}
        part = draw(recipe, share, rank=rank, world_size=world_size)
        assert part.multires == whole.multires
        assert part.masked == whole.masked
        for name, view in part.random.items():
            expected = rows_of(whole.random[name], rows, count)
            assert_same_draws(view, expected)
            assert (view.source * world_size + rank == expected.source).all()
        assert (part.scene.other * world_size + rank == whole.scene.other[rows]).all()
        assert (part.scene.left == whole.scene.left[rows]).all()
        assert (part.mask.restore == whole.mask.restore[rows]).all()


def test_draws_of_a_picture_do_not_depend_on_its_place():
    recipe, batch = make_recipe(), make_batch(6)
    turned = {name: value.flip(0) for name, value in batch.items()}
    names = frozenset({'anchor', 'augmented', 'locals', 'masked'})
    straight, reverse = draw(recipe, batch, names), draw(recipe, turned, names)
    for name, view in straight.random.items():
        assert_same_draws(rows_of(view, np.arange(6)[::-1], 6), reverse.random[name])
    assert (straight.mask.keep[::-1] == reverse.mask.keep).all()


def test_epoch_changes_pictures_and_step_changes_scales():
    recipe, batch = make_recipe(), make_batch(4)
    first = draw(recipe, batch)
    assert (
        draw(recipe, batch, epoch=1).random['anchor'].box != first.random['anchor'].box
    ).any()
    again = draw(recipe, batch, step=1)
    assert_same_draws(again.random['anchor'], first.random['anchor'])
    scales = {draw(recipe, batch, step=s).multires for s in range(300)}
    assert len(scales) == 30  # ordered pairs of six scales
    assert all(len(set(pair)) == 2 for pair in scales)
    assert {draw(recipe, batch, step=s).masked for s in range(100)} == {6, 7, 9, 10, 11, 12}


def test_official_scales_are_independent():
    recipe, batch = make_recipe('saip-official'), make_batch(2)
    scales = {draw(recipe, batch, step=s).multires for s in range(300)}
    assert len(scales) == 16


@pytest.mark.parametrize('preset', PRESETS)
def test_a_plan_survives_json(preset):
    plan = draw(make_recipe(preset), make_batch(4))
    text = json.dumps(plan.to_dict(), default=lambda array: array.tolist())
    again = ViewPlan.from_dict(json.loads(text))
    assert json.dumps(again.to_dict(), default=lambda array: array.tolist()) == text


def test_only_what_is_asked_for_is_drawn():
    recipe, batch = make_recipe(), make_batch(4)
    drawn = {
        name: set(draw(recipe, batch, frozenset({name})).random) for name in recipe.available
    }
    assert drawn == {
        'anchor': {'anchor'},
        'augmented': {'augmented'},
        'locals': {'locals'},
        'multires': {'anchor'},
        'masked': {'augmented'},
        'scene': {'anchor', 'background'},
    }
    assert draw(recipe, batch, frozenset({'multires'})).scene is None
    official = draw(make_recipe('saip-official'), batch, frozenset({'multires'}))
    assert set(official.random) == {'anchor', 'region'}


def test_probabilities_and_ranges():
    recipe = make_recipe()
    batch = {'key': torch.arange(4000), 'size': torch.full((4000, 2), 200)}
    plan = draw(recipe, batch)
    view = plan.random['augmented']
    shares = {'flip': 0.5, 'jitter': 0.8, 'gray': 0.2, 'sigma': 0.1, 'solarize': 0.2}
    for name, share in shares.items():
        assert np.mean(getattr(view, name) > 0) == pytest.approx(share, abs=0.03), name
    assert np.allclose(view.factors.min(0), [0.6, 0.6, 0.8, -0.1], atol=0.01)
    assert np.allclose(view.factors.max(0), [1.4, 1.4, 1.2, 0.1], atol=0.01)
    sigma = plan.random['anchor'].sigma
    assert 0.1 <= sigma.min() < 0.12
    assert 1.98 < sigma.max() < 2.0
    orders, counts = np.unique(view.order, axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.max() < 1.5 * counts.min()


@pytest.mark.parametrize(
    ('count', 'world_size'), [(2, 1), (3, 1), (8, 2), (4, 3), (2, 16), (7, 8)]
)
def test_partners_are_other_pictures(count, world_size):
    for rank in range(world_size):
        partners = draw_partners(np.arange(count) * 31 + rank, 0, 0, rank, world_size)
        for partner in (partners.background, partners.other):
            assert (partner != np.arange(count)).all()
            assert set(partner) <= set(range(count))
        if count >= 2 * partner_stride(count * world_size) + 1:
            assert (partners.background != partners.other).all()


def test_strides_leave_a_choice_and_suit_usual_clusters():
    strides = {batch: partner_stride(batch) for batch in range(2, 5000)}
    assert all(2 * stride <= batch for batch, stride in strides.items())
    # From 192 pictures on, at least seven others to choose from.
    assert min((batch - 1) // stride for batch, stride in strides.items() if batch >= 192) == 7
    for world_size in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        assert strides[2048] % world_size == 0


def test_a_picture_alone_is_its_own_partner():
    partners = draw_partners(np.array([5]), 0, 0, 0, 1)
    assert partners.background.tolist() == partners.other.tolist() == [0]
