"""Numbers that are drawn with the views, and views that are told them."""

import numpy as np
import pytest
import torch

from saip.errors import InputError
from saip.views import (
    Clock,
    DeviceOps,
    HostBatch,
    Recipe,
    ReferenceOps,
    ViewPlan,
    render,
    uniforms,
)
from tests.test_views.view_recipes import draw_plan, make_batch, make_ops

VIEWS = {
    'semantic': {'type': 'Bernoulli', 'probability': 0.5},
    'choice': {'type': 'Uniform', 'number': 3},
    'anchor': {'type': 'Crop', 'condition': 'semantic'},
    'augmented': {'type': 'Crop', 'augment': {'flip': 0.5}, 'condition': 'semantic'},
    'local_crops': {'type': 'Crop', 'number': 3, 'size': (64, 32), 'condition': 'semantic'},
    'fixed': {'type': 'Crop', 'condition': 0.25},
    'plain': {'type': 'Crop'},
    'told': {'type': 'Same', 'of': 'anchor', 'condition': 1.0},
    'untold': {'type': 'Same', 'of': 'anchor'},
    'crops_told': {'type': 'Same', 'of': 'local_crops', 'condition': 0.5},
    'multires': {'type': 'Rescale', 'scales': (0.5, 0.75)},
    'masked': {'type': 'Masked', 'of': 'augmented', 'mask': {'type': 'RandomMask'}},
    'masked_told': {'type': 'Same', 'of': 'masked', 'condition': 'semantic'},
    'scene': {'type': 'Scene', 'size': (128, 128)},
}
COUNT = 6


def make(kind=DeviceOps, count: int = COUNT, names=None, clock=Clock(3, 2, 7), **changes):  # noqa: B008
    views = {k: v for k, v in {**VIEWS, **changes}.items() if v is not None}
    recipe, batch = Recipe((128, 64), 16, views), make_batch(count)
    plan = draw_plan(recipe, batch, names, clock)
    ops = make_ops(kind, mean=(1, 2, 3), std=(4, 5, 6))
    return batch, plan, render(recipe, plan, batch['canvas'], names or recipe.names, ops)


@pytest.mark.parametrize('kind', [DeviceOps, ReferenceOps])
def test_all_views_of_an_image_are_told_the_same(kind):
    batch, _, views = make(kind)
    keys = batch['key'].numpy()
    drawn = uniforms(3, 'semantic/numbers', keys, 2, 1)[:, 0] < 0.5
    expected = torch.tensor(drawn.astype(np.float32))
    for name in ('anchor', 'augmented', 'multires_0', 'multires_1', 'masked', 'masked_told'):
        assert torch.equal(views[name].condition, expected), name
    assert torch.equal(views['scene'].condition, expected)
    assert torch.equal(views['local_crops'].condition, expected.repeat(3))  # view-major
    assert torch.equal(views.targets['semantic'], expected)
    assert not {'semantic', 'choice'} & set(views.by_name)
    assert views['fixed'].condition.tolist() == [0.25] * COUNT
    assert views['plain'].condition is views['untold'].condition is None


@pytest.mark.parametrize('kind', [DeviceOps, ReferenceOps])
def test_a_second_name_shares_images_and_mask(kind):
    """And they are normalized once: the values are those of a recipe without second names."""
    _, _, views = make(kind)
    _, _, alone = make(kind, told=None, untold=None, crops_told=None, masked_told=None)
    for name, other in (
        ('told', 'anchor'),
        ('untold', 'anchor'),
        ('crops_told', 'local_crops'),
        ('masked_told', 'masked'),
    ):
        assert views[name].images is views[other].images, name
        assert views[name].mask is views[other].mask, name
        assert torch.equal(views[name].images, alone[other].images), name
    assert views['told'].condition.tolist() == [1.0] * COUNT
    assert views['crops_told'].condition.tolist() == [0.5] * 3 * COUNT


def test_numbers_are_keyed_by_image_and_epoch():
    _, plan, _ = make()
    numbers = {name: plan.draws[name].values['numbers'] for name in ('semantic', 'choice')}
    assert numbers['choice'].shape == (COUNT, 3)
    again = {
        name: make(clock=clock)[1].draws
        for name, clock in {
            'rank': Clock(3, 2, 99, 1, 4),
            'epoch': Clock(3, 5, 7),
            'seed': Clock(4, 2, 7),
        }.items()
    }
    for name, expected in numbers.items():
        assert (again['rank'][name].values['numbers'] == expected).all()
        for changed in ('epoch', 'seed'):
            assert (again[changed][name].values['numbers'] != expected).any()
    stored = ViewPlan.from_dict(plan.to_dict())
    assert (stored.draws['choice'].values['numbers'] == numbers['choice']).all()


@pytest.mark.parametrize(('probability', 'share'), [(0, 0), (0.5, 0.5), (0.2, 0.2), (1, 1)])
def test_the_share_of_ones(probability, share):
    semantic = {'type': 'Bernoulli', 'probability': probability}
    batch = HostBatch(np.arange(4000), np.full((4000, 2), 100))
    plan = Recipe((128, 64), 16, {'semantic': semantic}).draw(
        ['semantic'], batch, Clock(0, 0, 0)
    )
    numbers = plan.draws['semantic'].values['numbers']
    assert set(numbers.tolist()) <= {0.0, 1.0}
    assert numbers.mean() == pytest.approx(share, abs=0.025)


def test_other_views_draw_what_they_drew_without_conditions():
    _, plan, views = make()
    bare = {name: {**VIEWS[name], 'condition': None} for name in ('augmented', 'local_crops')}
    _, other, alone = make(semantic=None, anchor={'type': 'Crop'}, masked_told=None, **bare)
    for name in ('anchor', 'augmented', 'local_crops', 'plain', 'scene', 'multires_0'):
        assert torch.equal(views[name].images, alone[name].images), name
    assert (
        plan.draws['masked'].values['mask'].keys()
        == other.draws['masked'].values['mask'].keys()
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'told': {'type': 'Same', 'of': 'gone'}}, "told: of='gone' is none of the views"),
        (
            {'told': {'type': 'Same', 'of': 'multires'}},
            'one view; it makes multires_0, multires_1',
        ),
        ({'told': {'type': 'Same', 'of': 'semantic'}}, 'to make one view; it makes none'),
        (
            {'told': {'type': 'Same', 'of': 'anchor', 'condition': 1.5}},
            'told.condition: a number from 0 to 1, not 1.5',
        ),
        (
            {'told': {'type': 'Same', 'of': 'anchor', 'condition': 'plain'}},
            r"told: condition='plain' is none .*\(semantic, choice\)",
        ),
        ({'plain': {'type': 'Crop', 'condition': -1}}, 'plain.condition: a number from 0 to 1'),
        ({'plain': {'type': 'Crop', 'condition': 'x'}}, "plain: condition='x' is none"),
        (
            {'semantic': {'type': 'Bernoulli', 'probability': 2}},
            'semantic.probability: a number',
        ),
        ({'choice': {'type': 'Uniform', 'number': 0}}, 'choice.number: a whole number from 1'),
    ],
)
def test_what_cannot_be_told_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe((128, 64), 16, {**VIEWS, **changes})


def test_numbers_have_no_size():
    recipe = Recipe((128, 64), 16, VIEWS)
    plan = draw_plan(recipe, make_batch(2))
    assert recipe['semantic'].sizes(plan.draws['semantic']) == ()
    assert list(recipe['choice'].possible_sizes()) == [()]
    assert recipe['told'].possible_sizes() == [((128, 64),)]
    assert recipe['crops_told'].rows == 3
