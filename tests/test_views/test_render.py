from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from saip.models.data_preprocessor import ViewsPreprocessor
from saip.registry import VIEWS
from saip.structures import View, Views
from saip.views import Crop, DeviceOps, Draw, Recipe, ReferenceOps, RenderOps, ViewPlan, render
from saip.views.base import Clock
from saip.views.device import cut, gaussian_blur
from tests.test_views.view_recipes import (
    PRESETS,
    draw_plan,
    images_of,
    make_batch,
    make_ops,
    make_recipe,
)
from tests.tiny import progress

NORM = {'mean': (120.0, 110.0, 100.0), 'std': (60.0, 55.0, 50.0)}
KINDS = (DeviceOps, ReferenceOps)


def render_all(recipe: Recipe, plan: ViewPlan, canvas: torch.Tensor, ops: RenderOps) -> Views:
    return render(recipe, plan, canvas, recipe.names, ops)


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('mode', ['bilinear', 'nearest'])
def test_renderers_agree_within_a_few_gray_levels(preset, mode):
    recipe, batch = make_recipe(preset), make_batch(12)
    plan = draw_plan(recipe, batch)
    ours, reference = (
        render_all(recipe, plan, batch['canvas'], make_ops(kind, mode)) for kind in KINDS
    )
    assert ours.by_name.keys() == reference.by_name.keys()
    for name, view in ours.by_name.items():
        error = (view.images - reference[name].images).abs()
        assert error.mean() < 2, name
        assert error.max() < 24, name
    assert torch.equal(ours.targets['scene_masks'], reference.targets['scene_masks'])
    assert torch.equal(ours['masked'].mask.restore, reference['masked'].mask.restore)


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('kind', KINDS)
def test_a_stored_plan_renders_the_same_bits(preset, kind):
    recipe, batch = make_recipe(preset), make_batch(4)
    plan, ops = draw_plan(recipe, batch), make_ops(kind, **NORM)
    first = render_all(recipe, plan, batch['canvas'], ops)
    again = render_all(recipe, ViewPlan.from_dict(plan.to_dict()), batch['canvas'], ops)
    for name, view in first.by_name.items():
        assert torch.equal(view.images, again[name].images), name
    assert torch.equal(first.targets['scene_masks'], again.targets['scene_masks'])
    assert torch.equal(first['masked'].mask.keep, again['masked'].mask.keep)


def test_a_share_of_the_batch_renders_the_views_of_the_whole():
    recipe, batch, ops = make_recipe(), make_batch(8), make_ops(**NORM)
    whole = render_all(recipe, draw_plan(recipe, batch), batch['canvas'], ops)
    for rank in range(2):
        share = {name: value[rank::2] for name, value in batch.items()}
        plan = draw_plan(recipe, share, clock=Clock(0, 0, 0, rank, 2))
        part = render_all(recipe, plan, share['canvas'], ops)
        for name, images in images_of(part).items():
            kinds = len(images) // 4
            expected = whole[name].images.view(kinds, 8, *images.shape[1:])[:, rank::2]
            assert torch.allclose(images, expected.flatten(0, 1), atol=0.02), name
        masks = whole.targets['scene_masks']
        assert torch.equal(part.targets['scene_masks'], masks[rank::2])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('original', [(1, 500), (500, 1), (1, 1), (40, 900)])
def test_images_of_any_shape(kind, original):
    recipe, batch = make_recipe(), make_batch(3)
    batch['size'] = torch.tensor([original, (300, 120), original])
    plan = draw_plan(recipe, batch)
    images = images_of(render_all(recipe, plan, batch['canvas'], make_ops(kind, **NORM)))
    assert images['anchor'].shape == (3, 3, 128, 64)
    assert all(x.isfinite().all() for x in images.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('preset', PRESETS)
def test_the_device_is_never_waited_for_and_draws_what_the_processor_draws(preset):
    recipe, batch = make_recipe(preset), make_batch(4)
    plan, ops = draw_plan(recipe, batch), make_ops(**NORM)
    on_gpu = DeviceOps(ops.mean.cuda(), ops.std.cuda(), ops.resize_mode)
    canvas = batch['canvas'].cuda()
    render_all(recipe, plan, canvas, on_gpu)  # makes libraries and memory ready
    torch.cuda.set_sync_debug_mode('error')
    try:
        views = render_all(recipe, plan, canvas, on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    expected = render_all(recipe, plan, batch['canvas'], ops)
    for name, images in images_of(expected).items():
        assert torch.allclose(views[name].images.cpu(), images, atol=0.1), name
    masks = expected.targets['scene_masks']
    assert torch.equal(views.targets['scene_masks'].cpu(), masks)
    assert torch.equal(views['masked'].mask.keep.cpu(), expected['masked'].mask.keep)


@pytest.mark.parametrize('size', [(256, 128), (256, 192), (384, 128), (224, 224), (128, 64)])
def test_sizes(size):
    recipe, batch = make_recipe(size=size), make_batch(2)
    plan, ops = draw_plan(recipe, batch), make_ops(**NORM)
    images = images_of(render_all(recipe, plan, batch['canvas'], ops))
    assert images['anchor'].shape == images['augmented'].shape == (2, 3, *size)
    assert images['local_crops'].shape == (6, 3, 64, 32)
    assert images['scene'].shape == (2, 3, 224, 224)
    for name in ('multires_0', 'multires_1', 'masked'):
        assert all(side % 16 == 0 for side in images[name].shape[-2:])
    assert all(x.dtype == torch.float32 for x in images.values())
    assert all(x.isfinite().all() for x in images.values())


def test_derived_views_of_the_official_recipe():
    recipe, batch = make_recipe('saip-official'), make_batch(3)
    plan, ops = draw_plan(recipe, batch), make_ops(mode='nearest', **NORM)
    images = images_of(render_all(recipe, plan, batch['canvas'], ops))
    anchor, augmented = images['anchor'], images['augmented']
    reduced = anchor[:, :, ::2, ::2]
    scale = plan.draws['multires'].values['scales'][1]
    # Whole patches of the reduced anchor.
    height, width = (int(side * scale) // 16 * 16 for side in reduced.shape[-2:])
    expected = F.interpolate(reduced, scale_factor=scale)[..., :height, :width]
    assert torch.equal(images['multires_1'], expected)
    assert torch.equal(images['masked'], F.interpolate(augmented, scale_factor=1.25))


def test_views_of_the_default_recipe_come_from_their_sources():
    recipe, batch = make_recipe('saip-paper'), make_batch(3)
    plan, ops = draw_plan(recipe, batch), make_ops()
    images = images_of(render_all(recipe, plan, batch['canvas'], ops))
    which = plan.draws['masked'].values['which']
    assert torch.equal(images['masked'], images[f'multires_{which}'])
    size = images['multires_0'].shape[-2:]
    expected = F.interpolate(images['anchor'], size, mode='bilinear', antialias=True)
    assert torch.equal(images['multires_0'], expected)


def test_an_image_that_was_squeezed_is_not_distorted():
    """A circle in a square image stays one in a square view, whatever the canvas."""
    recipe = Recipe((64, 64), 16, {'anchor': {'type': 'Crop', 'area': (1.0, 1.0)}})
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing='ij')
    circle = (((y - 100) ** 2 + (x - 100) ** 2) < 60**2).float().expand(1, 3, -1, -1) * 255
    canvas = F.interpolate(circle, (320, 160), mode='bilinear', antialias=True).byte()
    batch = {'key': torch.tensor([1]), 'size': torch.tensor([[200, 200]])}
    views = render_all(recipe, draw_plan(recipe, batch), canvas, make_ops())
    inside = views['anchor'].images[0, 0] > 127
    height, width = inside.any(1).sum().item(), inside.any(0).sum().item()
    assert height == pytest.approx(64 * 0.6, abs=2)
    assert width == pytest.approx(64 * 0.6, abs=2)


@pytest.mark.parametrize(
    ('name', 'part'), [('anchor', 'crop'), ('local_crops', 'crop'), ('scene', 'background')]
)
def test_dense_products_equal_sparse_ones(name, part):
    recipe, batch = make_recipe(), make_batch(4)
    crops = draw_plan(recipe, batch).draws[name].crops[part]
    images = batch['canvas'].permute(0, 2, 1, 3).float().contiguous()
    dense, sparse = (cut(replace(crops, size=(64, 32)), images, way) for way in (False, True))
    assert torch.allclose(dense, sparse, atol=1e-2)
    sigma = torch.full((len(dense),), 1.3)
    blurred = [gaussian_blur(dense, sigma, sparse=way) for way in (False, True)]
    assert torch.allclose(*blurred, atol=1e-2)


def test_unknown_resize_mode():
    with pytest.raises(ValueError, match='bilinear, nearest'):
        make_ops(mode='bicubic')


def test_a_view_that_is_a_part_of_another_is_normalized_once(monkeypatch):
    """Normalizing works in place, and a view type of a user may return a slice."""

    class FirstImage(Crop):
        depends_on = ('anchor',)

        def draw(self, clock, batch, drawn):
            return Draw()

        def make(self, draw, cuts, made, ops):
            images = made['anchor'].images
            return Views({self.name: View(images[:1])}, {'first_target': images[1:2]})

    monkeypatch.setitem(VIEWS.module_dict, 'FirstImage', FirstImage)
    views = {'anchor': PRESETS['saip']['anchor'], 'first': {'type': 'FirstImage'}}
    made = ViewsPreprocessor((128, 64), 16, views)
    alone = ViewsPreprocessor((128, 64), 16, {'anchor': views['anchor']})
    found, expected = [], []
    for preprocessor, out in ((made, found), (alone, expected)):
        preprocessor.begin_step(progress())
        out.append(preprocessor(make_batch(2), training=True)['inputs'])
    anchor = expected[0]['anchor'].images
    torch.testing.assert_close(found[0]['anchor'].images, anchor)
    torch.testing.assert_close(found[0]['first'].images, anchor[:1])
    levels = anchor[1:2] * made.std + made.mean  # targets stay in gray levels
    torch.testing.assert_close(found[0].targets['first_target'], levels, rtol=0, atol=1e-3)
