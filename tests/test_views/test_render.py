import pytest
import torch
import torch.nn.functional as F

from saip.datasets.views import (
    Clock,
    DeviceRenderer,
    Recipe,
    ReferenceRenderer,
    ViewPlan,
    draw_plan,
)
from saip.datasets.views.render import cut, gaussian_blur
from tests.test_views.view_recipes import PRESETS, make_batch, make_recipe

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)


def plan_for(recipe: Recipe, batch, step: int = 0) -> ViewPlan:
    keys, sizes = batch['key'].numpy(), batch['size'].numpy()
    return draw_plan(recipe, recipe.available, keys, sizes, Clock(0, 0, step))


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('mode', ['bilinear', 'nearest'])
def test_renderers_agree_within_a_few_grey_levels(preset, mode):
    recipe, batch = make_recipe(preset), make_batch(12)
    plan = plan_for(recipe, batch)
    ours, reference = (
        kind(recipe, (0, 0, 0), (1, 1, 1), mode).render(plan, batch['canvas'], recipe.available)
        for kind in (DeviceRenderer, ReferenceRenderer)
    )
    assert ours.images.keys() == reference.images.keys()
    for name, images in ours.images.items():
        error = (images - reference.images[name]).abs()
        assert error.mean() < 2, name
        assert error.max() < 24, name
    assert torch.equal(ours.scene_masks, reference.scene_masks)
    assert torch.equal(ours.mask.restore, reference.mask.restore)


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('kind', [DeviceRenderer, ReferenceRenderer])
def test_a_stored_plan_renders_the_same_bits(preset, kind):
    recipe, batch = make_recipe(preset), make_batch(4)
    plan = plan_for(recipe, batch)
    renderer = kind(recipe, MEAN, STD, 'bilinear')
    first = renderer.render(plan, batch['canvas'], recipe.available)
    stored = ViewPlan.from_dict(plan.to_dict())
    again = renderer.render(stored, batch['canvas'], recipe.available)
    for name, images in first.images.items():
        assert torch.equal(images, again.images[name]), name
    assert torch.equal(first.scene_masks, again.scene_masks)
    assert torch.equal(first.mask.keep, again.mask.keep)


def test_a_share_of_the_batch_renders_the_views_of_the_whole():
    recipe, batch = make_recipe(), make_batch(8)
    renderer = DeviceRenderer(recipe, MEAN, STD, 'bilinear')
    whole = renderer.render(plan_for(recipe, batch), batch['canvas'], recipe.available)
    for rank in range(2):
        share = {name: value[rank::2] for name, value in batch.items()}
        keys, sizes = share['key'].numpy(), share['size'].numpy()
        plan = draw_plan(recipe, recipe.available, keys, sizes, Clock(0, 0, 0, rank, 2))
        part = renderer.render(plan, share['canvas'], recipe.available)
        for name, images in part.images.items():
            kinds = len(images) // 4
            expected = whole.images[name].view(kinds, 8, *images.shape[1:])[:, rank::2]
            assert torch.allclose(images, expected.flatten(0, 1), atol=0.02), name
        assert torch.equal(part.scene_masks, whole.scene_masks[rank::2])


@pytest.mark.parametrize('kind', [DeviceRenderer, ReferenceRenderer])
@pytest.mark.parametrize('original', [(1, 500), (500, 1), (1, 1), (40, 900)])
def test_pictures_of_any_shape(kind, original):
    recipe, batch = make_recipe(), make_batch(3)
    batch['size'] = torch.tensor([original, (300, 120), original])
    views = kind(recipe, MEAN, STD, 'bilinear').render(
        plan_for(recipe, batch), batch['canvas'], recipe.available
    )
    assert views.images['anchor'].shape == (3, 3, 128, 64)
    assert all(images.isfinite().all() for images in views.images.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('preset', PRESETS)
def test_the_device_is_never_waited_for_and_draws_what_the_processor_draws(preset):
    recipe, batch = make_recipe(preset), make_batch(4)
    plan = plan_for(recipe, batch)
    renderer = DeviceRenderer(recipe, MEAN, STD, 'bilinear')
    canvas = batch['canvas'].cuda()
    renderer.render(plan, canvas, recipe.available)  # makes libraries and memory ready
    torch.cuda.set_sync_debug_mode('error')
    try:
        views = renderer.render(plan, canvas, recipe.available)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    expected = renderer.render(plan, batch['canvas'], recipe.available)
    for name, images in expected.images.items():
        assert torch.allclose(views.images[name].cpu(), images, atol=0.1), name
    assert torch.equal(views.scene_masks.cpu(), expected.scene_masks)
    assert torch.equal(views.mask.keep.cpu(), expected.mask.keep)


@pytest.mark.parametrize('size', [(256, 128), (256, 192), (384, 128), (224, 224), (128, 64)])
def test_sizes(size):
    recipe, batch = make_recipe(size=size), make_batch(2)
    plan = plan_for(recipe, batch)
    renderer = DeviceRenderer(recipe, MEAN, STD, 'bilinear')
    images = renderer.render(plan, batch['canvas'], recipe.available).images
    assert images['anchor'].shape == images['augmented'].shape == (2, 3, *size)
    assert images['locals'].shape == (6, 3, 64, 32)
    assert images['scene'].shape == (2, 3, 224, 224)
    for name in ('multires_0', 'multires_1', 'masked'):
        assert all(side % 16 == 0 for side in images[name].shape[-2:])
    assert all(x.dtype == torch.float32 for x in images.values())
    assert all(x.isfinite().all() for x in images.values())


def test_derived_views_of_the_official_recipe():
    recipe, batch = make_recipe('saip-official'), make_batch(3)
    plan = plan_for(recipe, batch)
    renderer = DeviceRenderer(recipe, MEAN, STD, 'nearest')
    images = renderer.render(plan, batch['canvas'], recipe.available).images
    anchor, augmented = images['anchor'], images['augmented']
    reduced = anchor[:, :, ::2, ::2]
    scale = plan.multires[1] / 8
    # Whole patches of the reduced anchor.
    height, width = (int(side * scale) // 16 * 16 for side in reduced.shape[-2:])
    expected = F.interpolate(reduced, scale_factor=scale)[..., :height, :width]
    assert torch.equal(images['multires_1'], expected)
    assert torch.equal(images['masked'], F.interpolate(augmented, scale_factor=1.25))


def test_views_of_the_default_recipe_come_from_their_sources():
    recipe, batch = make_recipe('saip-paper'), make_batch(3)
    plan = plan_for(recipe, batch)
    renderer = DeviceRenderer(recipe, MEAN, STD, 'bilinear')
    images = renderer.render(plan, batch['canvas'], recipe.available).images
    assert torch.equal(images['masked'], images[f'multires_{plan.masked}'])
    size = images['multires_0'].shape[-2:]
    expected = F.interpolate(images['anchor'], size, mode='bilinear', antialias=True)
    assert torch.equal(images['multires_0'], expected)


def test_a_picture_that_was_squeezed_is_not_distorted():
    """A circle in a square picture stays one in a square view, whatever the canvas."""
    recipe = make_recipe(
        size=(64, 64),
        anchor={'area': (1.0, 1.0)},
        locals=None,
        scene=None,
        jitter={'probability': 0.0},
        gray=0.0,
    )
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing='ij')
    circle = (((y - 100) ** 2 + (x - 100) ** 2) < 60**2).float().expand(1, 3, -1, -1) * 255
    canvas = F.interpolate(circle, (320, 160), mode='bilinear', antialias=True).byte()
    batch = {'key': torch.tensor([1]), 'size': torch.tensor([[200, 200]])}
    renderer = DeviceRenderer(recipe, (0, 0, 0), (1, 1, 1), 'bilinear')
    view = renderer.render(plan_for(recipe, batch), canvas, frozenset({'anchor'}))
    inside = view.images['anchor'][0, 0] > 127
    height, width = inside.any(1).sum().item(), inside.any(0).sum().item()
    assert height == pytest.approx(64 * 0.6, abs=2)
    assert width == pytest.approx(64 * 0.6, abs=2)


@pytest.mark.parametrize('name', ['anchor', 'locals', 'background'])
def test_dense_products_equal_sparse_ones(name):
    recipe, batch = make_recipe(), make_batch(4)
    plan = plan_for(recipe, batch)
    pictures = batch['canvas'].permute(0, 2, 1, 3).float().contiguous()
    dense, sparse = (
        cut(plan.random[name], plan.sizes, pictures, (64, 32), way) for way in (False, True)
    )
    assert torch.allclose(dense, sparse, atol=1e-2)
    sigma = torch.full((len(dense),), 1.3)
    blurred = [gaussian_blur(dense, sigma, sparse=way) for way in (False, True)]
    assert torch.allclose(*blurred, atol=1e-2)


def test_unknown_resize_mode():
    with pytest.raises(ValueError, match='bilinear, nearest'):
        DeviceRenderer(make_recipe(), MEAN, STD, 'bicubic')
