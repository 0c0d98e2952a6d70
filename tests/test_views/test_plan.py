import json
from dataclasses import fields

import numpy as np
import pytest
import torch

from saip.views import Clock, CropDraw, ViewPlan, render
from saip.views.partners import draw_partners, partner_stride
from tests.test_views.view_recipes import PRESETS, draw_plan, make_batch, make_ops, make_recipe

ARRAYS = [field.name for field in fields(CropDraw) if field.name != 'size']


def make_plain_batch(count: int) -> dict:
    """Keys and sizes alone, which is all that a plan is drawn from."""
    rng = np.random.default_rng(count)
    return {
        'key': torch.from_numpy(rng.integers(0, 2**62, count)),
        'size': torch.from_numpy(rng.integers(1, 400, (count, 2))),
    }


def draw(recipe, batch, names=None, rank=0, world_size=1, epoch=0, step=0) -> ViewPlan:
    return draw_plan(recipe, batch, names, Clock(3, epoch, step, rank, world_size))


def crops_of(plan: ViewPlan) -> dict[str, CropDraw]:
    """Crops by the entry, or by the part if it is no crop itself."""
    return {
        entry if part == 'crop' else part: crop
        for entry, each in plan.draws.items()
        for part, crop in each.crops.items()
    }


def value(plan: ViewPlan, entry: str, name: str):
    return plan.draws[entry].values[name]


def rows_of(crop: CropDraw, rows: np.ndarray, batch: int) -> CropDraw:
    kinds = np.arange(len(crop.source)) // batch
    chosen = np.concatenate([rows + batch * k for k in np.unique(kinds)])
    return CropDraw(crop.size, **{name: getattr(crop, name)[chosen] for name in ARRAYS})


def assert_same_draws(left: CropDraw, right: CropDraw) -> None:
    assert left.size == right.size
    for name in ARRAYS:
        if name != 'source':
            assert (getattr(left, name) == getattr(right, name)).all(), name


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize(
    ('count', 'world_size'), [(16, 2), (16, 4), (192, 3), (192, 8), (384, 12), (384, 16)]
)
def test_processes_draw_the_plan_of_one(preset, count, world_size):
    recipe, batch = make_recipe(preset), make_plain_batch(count)
    whole = draw(recipe, batch)
    for rank in range(world_size):
        rows = np.arange(rank, count, world_size)
        share = {name: x[rows] for name, x in batch.items()}
        part = draw(recipe, share, rank=rank, world_size=world_size)
        assert value(part, 'multires', 'scales') == value(whole, 'multires', 'scales')
        for name in ('which', 'size'):
            assert value(part, 'masked', name) == value(whole, 'masked', name)
        every = crops_of(whole)
        for name, crop in crops_of(part).items():
            expected = rows_of(every[name], rows, count)
            assert_same_draws(crop, expected)
            assert (crop.source * world_size + rank == expected.source).all()
        left, mask = value(whole, 'scene', 'left'), value(whole, 'masked', 'mask')
        assert (value(part, 'scene', 'left') == left[rows]).all()
        assert (value(part, 'masked', 'mask')['restore'] == mask['restore'][rows]).all()
        if preset != 'saip-official':  # whose scenes have no distractor
            other = value(whole, 'scene', 'distractor')[rows]
            assert (value(part, 'scene', 'distractor') * world_size + rank == other).all()


def test_draws_of_an_image_do_not_depend_on_its_place():
    recipe, batch = make_recipe(), make_batch(6)
    turned = {name: x.flip(0) for name, x in batch.items()}
    names = frozenset({'anchor', 'augmented', 'local_crops', 'masked'})
    straight, reverse = draw(recipe, batch, names), draw(recipe, turned, names)
    for name, crop in crops_of(straight).items():
        assert_same_draws(rows_of(crop, np.arange(6)[::-1], 6), crops_of(reverse)[name])
    kept, turned_kept = (value(x, 'masked', 'mask')['keep'] for x in (straight, reverse))
    assert (kept[::-1] == turned_kept).all()


def test_epoch_changes_images_and_step_changes_scales():
    recipe, batch = make_recipe(), make_batch(4)
    first = draw(recipe, batch)
    later = crops_of(draw(recipe, batch, epoch=1))['anchor']
    assert (later.box != crops_of(first)['anchor'].box).any()
    again = draw(recipe, batch, step=1)
    assert_same_draws(crops_of(again)['anchor'], crops_of(first)['anchor'])
    scales = {value(draw(recipe, batch, step=s), 'multires', 'scales') for s in range(300)}
    assert len(scales) == 30  # ordered pairs of six scales
    assert all(len(set(pair)) == 2 for pair in scales)
    sizes = {value(draw(recipe, batch, step=s), 'masked', 'size') for s in range(100)}
    # 8x4 patches times 6/8, 7/8, 9/8, 10/8, 11/8 and 12/8, halves up.
    widths = {96: 48, 112: 64, 144: 80, 160: 80, 176: 96, 192: 96}
    assert sizes == set(widths.items())


def test_official_scales_are_independent():
    recipe, batch = make_recipe('saip-official'), make_batch(2)
    scales = {value(draw(recipe, batch, step=s), 'multires', 'scales') for s in range(300)}
    assert len(scales) == 16


@pytest.mark.parametrize('preset', PRESETS)
def test_a_plan_survives_json_and_renders_the_same(preset):
    recipe, batch = make_recipe(preset), make_batch(4)
    plan = draw(recipe, batch)
    text = json.dumps(plan.to_dict(), default=lambda array: array.tolist())
    again = ViewPlan.from_dict(json.loads(text))
    assert json.dumps(again.to_dict(), default=lambda array: array.tolist()) == text
    for entry, each in plan.draws.items():
        assert recipe[entry].sizes(each) == recipe[entry].sizes(again.draws[entry])
    first, second = (
        render(recipe, each, batch['canvas'], recipe.names, make_ops())
        for each in (plan, again)
    )
    assert first.by_name.keys() == second.by_name.keys()
    for name, view in first.by_name.items():
        assert torch.equal(view.images, second[name].images), name
        if view.mask is not None:
            for part, tensor in vars(view.mask).items():
                stored = getattr(second[name].mask, part)
                assert tensor is stored is None or torch.equal(tensor, stored), part
    assert torch.equal(first.targets['scene_masks'], second.targets['scene_masks'])


def test_only_what_is_asked_for_is_drawn():
    recipe, batch = make_recipe(), make_batch(4)
    drawn = {name: set(crops_of(draw(recipe, batch, [name]))) for name in recipe.names}
    assert drawn == {
        'anchor': {'anchor'},
        'augmented': {'augmented'},
        'local_crops': {'local_crops'},
        'multires': {'anchor'},
        'masked': {'augmented'},
        'scene': {'anchor', 'background'},
    }
    assert set(draw(recipe, batch, ['multires']).draws) == {'anchor', 'multires'}
    official = draw(make_recipe('saip-official'), batch, ['multires'])
    assert set(crops_of(official)) == {'anchor', 'extra_local_crop'}


def test_probabilities_and_ranges():
    recipe = make_recipe()
    batch = {'key': torch.arange(4000), 'size': torch.full((4000, 2), 200)}
    plan = draw(recipe, batch)
    view = crops_of(plan)['augmented']
    shares = {'flip': 0.5, 'jitter': 0.8, 'gray': 0.2, 'sigma': 0.1, 'solarize': 0.2}
    for name, share in shares.items():
        assert np.mean(getattr(view, name) > 0) == pytest.approx(share, abs=0.03), name
    assert np.allclose(view.factors.min(0), [0.6, 0.6, 0.8, -0.1], atol=0.01)
    assert np.allclose(view.factors.max(0), [1.4, 1.4, 1.2, 0.1], atol=0.01)
    sigma = crops_of(plan)['anchor'].sigma
    assert 0.1 <= sigma.min() < 0.12
    assert 1.98 < sigma.max() < 2.0
    orders, counts = np.unique(view.order, axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.max() < 1.5 * counts.min()


@pytest.mark.parametrize(
    ('count', 'world_size'), [(2, 1), (3, 1), (8, 2), (4, 3), (2, 16), (7, 8)]
)
def test_partners_are_other_images(count, world_size):
    for rank in range(world_size):
        partners = draw_partners(
            np.arange(count) * 31 + rank, Clock(0, 0, 0, rank, world_size), 'a'
        )
        for partner in (partners.background, partners.other):
            assert (partner != np.arange(count)).all()
            assert set(partner) <= set(range(count))
        if count >= 2 * partner_stride(count * world_size) + 1:
            assert (partners.background != partners.other).all()


def test_strides_leave_a_choice_and_suit_usual_clusters():
    strides = {batch: partner_stride(batch) for batch in range(2, 5000)}
    assert all(2 * stride <= batch for batch, stride in strides.items())
    # From 192 images on, at least seven others to choose from.
    assert min((batch - 1) // stride for batch, stride in strides.items() if batch >= 192) == 7
    for world_size in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        assert strides[2048] % world_size == 0


def test_an_image_alone_is_its_own_partner():
    partners = draw_partners(np.array([5]), Clock(0, 0, 0), 'a')
    assert partners.background.tolist() == partners.other.tolist() == [0]
