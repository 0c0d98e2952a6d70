"""Several masked views of one image: shared tensors, independent masks, complements."""

import json

import numpy as np
import pytest
import torch

from saip.views import Clock, DeviceOps, Recipe, ReferenceOps, ViewPlan, render, stream
from tests.test_views.view_recipes import draw_plan, make_batch, make_ops

BLOCK = {'type': 'BlockMask', 'ratio': 0.5, 'min_patches': 4}
RANDOM = {'type': 'RandomMask', 'ratio': 0.5}


def masked(mask, of: str = 'anchor', **options):
    return {'type': 'Masked', 'of': of, 'mask': mask, **options}


VIEWS = {
    'anchor': {'type': 'Crop'},
    'a': masked(RANDOM),
    'b': masked(RANDOM),
    'blocks': masked(BLOCK),
    'rest': masked({'type': 'ComplementMask', 'of': 'a'}, of='a'),
    'small': masked({'type': 'RandomMask', 'ratio': 0.75}, scales=(0.5,)),
    'rest_of_small': masked({'type': 'ComplementMask', 'of': 'small'}, of='small'),
}


def make(count: int = 4, kind=DeviceOps, names=None, clock=None, **changes):
    recipe, batch = Recipe((128, 64), 16, {**VIEWS, **changes}), make_batch(count)
    plan = draw_plan(recipe, batch, names, clock or Clock(0, 0, 0))
    return plan, render(recipe, plan, batch['canvas'], names or recipe.names, make_ops(kind))


def as_text(plan: ViewPlan) -> str:
    return json.dumps(plan.to_dict(), default=lambda array: array.tolist())


@pytest.mark.parametrize('kind', [DeviceOps, ReferenceOps])
def test_masks_of_one_image_share_its_tensor(kind):
    _, views = make(kind=kind)
    for name in ('a', 'b', 'blocks', 'rest'):
        assert views[name].images is views['anchor'].images, name
    assert views['rest_of_small'].images is views['small'].images
    assert views['small'].images is not views['a'].images
    assert views['small'].images.shape == (4, 3, 64, 32)
    assert views['anchor'].mask is None


def test_only_the_masked_views_share_what_nobody_else_asked_for():
    _, views = make(names=['a', 'b'])
    assert set(views.by_name) == {'a', 'b'}
    assert views['a'].images is views['b'].images


def test_two_masks_of_one_image_are_independent():
    """Of a half each, a quarter of the patches are hidden by both, as by two coins."""
    plan, _ = make(count=400, names=['a', 'b'])
    hidden = np.zeros((2, 400, 32), dtype=bool)
    for each, name in zip(hidden, 'ab', strict=True):
        np.put_along_axis(each, plan.draws[name].values['mask']['scored'], True, axis=1)
    both = hidden.all(0)
    # The number is hypergeometric: 8 on average with variance 32 * (1/2)^4 * 32/31 = 2.06.
    counts = both.sum(1)
    assert counts.mean() == pytest.approx(8, abs=4 * (2.06 / 400) ** 0.5)
    assert counts.var() == pytest.approx(2.06, rel=0.3)
    correlation = np.corrcoef(hidden[0].ravel(), hidden[1].ravel())[0, 1]
    assert abs(correlation) < 0.04


@pytest.mark.parametrize(
    ('of', 'rest', 'patches'), [('a', 'rest', 32), ('small', 'rest_of_small', 8)]
)
def test_a_complement_shows_exactly_what_the_other_hides(of, rest, patches):
    _, views = make()
    mask, other = views[of].mask, views[rest].mask
    assert torch.equal(mask.keep, other.scored)
    assert torch.equal(mask.scored, other.keep)
    for b in range(4):
        assert sorted([*mask.keep[b].tolist(), *other.keep[b].tolist()]) == list(range(patches))
    for each in (mask, other):
        sequence = torch.cat([each.keep, each.scored], 1)
        assert torch.equal(
            sequence.gather(1, each.restore), torch.arange(patches).expand(4, -1)
        )


def test_two_halves_give_all_patches_of_the_image_back():
    """Patches that one half shows, put where the other hides them, are the whole image."""
    _, views = make()
    images = views['a'].images
    patches = torch.nn.functional.unfold(images, 16, stride=16).transpose(1, 2)
    whole = torch.full_like(patches, float('nan'))
    for name in ('a', 'rest'):
        keep = views[name].mask.keep[..., None].expand(-1, -1, patches.shape[-1])
        whole.scatter_(1, keep, patches.gather(1, keep))
    again = torch.nn.functional.fold(whole.transpose(1, 2), images.shape[-2:], 16, stride=16)
    assert torch.equal(again, images)


def test_a_plan_of_all_maskers_survives_json():
    plan, views = make()
    recipe = Recipe((128, 64), 16, VIEWS)
    stored = ViewPlan.from_dict(json.loads(as_text(plan)))
    again = render(recipe, stored, make_batch(4)['canvas'], recipe.names, make_ops())
    for name, view in views.by_name.items():
        assert torch.equal(view.images, again[name].images)
        if view.mask is not None:
            assert torch.equal(view.mask.keep, again[name].mask.keep)
            assert torch.equal(view.mask.restore, again[name].mask.restore)
            assert torch.equal(view.mask.scored, again[name].mask.scored)


def test_views_of_the_same_options_but_another_name_are_drawn_apart():
    other = {'type': 'Crop', 'area': (0.1, 0.3), 'augment': {'flip': 0.5}}
    plan, _ = make(count=50, left=other, right=other)
    left, right = (plan.draws[name].crops['crop'] for name in ('left', 'right'))
    assert (left.box != right.box).any(1).sum() > 40
    assert 10 < (left.flip != right.flip).sum() < 40


def test_a_further_view_changes_no_draw_of_the_others():
    before, _ = make()
    after, _ = make(
        head={'type': 'Crop', 'size': (32, 32)},
        heads={'type': 'Rescale', 'of': 'head', 'scales': (0.5, 1.0)},
        hidden=masked(BLOCK),
        scene={'type': 'Scene', 'queries': 'heads', 'size': (96, 96)},
    )
    assert set(after.draws) - set(before.draws) == {'head', 'heads', 'hidden', 'scene'}
    shared = ViewPlan({name: after.draws[name] for name in before.draws})
    assert as_text(shared) == as_text(before)


def test_streams_of_a_name_are_its_own():
    """Every use of every name of a recipe draws from another stream."""
    uses = (
        'crop 0',
        'crop 1',
        'scale',
        'scales',
        'mask',
        'layout',
        'partners',
        'background',
        'pool',
    )
    names = ('anchor', 'augmented', 'local_crops', 'extra_local_crop', 'multires', 'masked')
    every = [stream(name, use) for name in (*names, 'scene', 'a', 'b') for use in uses]
    assert len(set(every)) == len(every)
    assert stream('masked', 'mask') == 'mask'
    assert stream('masked', 'scale') == 'masked scale'
    assert stream('local_crops', 'crop 3') == 'local_3'
    assert stream('extra_local_crop', 'crop 0') == 'region'
    assert stream('mine', 'mask') == 'mine/mask'


def test_the_resolution_and_the_scale_of_masked_views_are_drawn_apart():
    sizes = []
    for step in range(60):
        plan, _ = make(
            count=1,
            names=['x', 'y'],
            clock=Clock(0, 0, step),
            x=masked(RANDOM, scales=(0.5, 1.0)),
            y=masked(RANDOM, scales=(0.5, 1.0)),
        )
        sizes.append(tuple(plan.draws[name].values['size'] for name in 'xy'))
    small, large = (64, 32), (128, 64)
    assert set(sizes) == {(s, t) for s in (small, large) for t in (small, large)}
