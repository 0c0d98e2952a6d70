import numpy as np
import pytest
import torch

from saip.models.ops.cells import cell_targets
from saip.views import Draw, render, uniforms
from saip.views.layout import (
    _side_by_side,
    draw_random_layout,
    random_layout_numbers,
    visible_shares,
)
from saip.views.ops import Paste
from tests.test_views.view_recipes import draw_plan, make_batch, make_ops, make_recipe


def raster_shares(top, left, sizes, rank, scene) -> np.ndarray:
    """Visible share of each paste, by painting numbers."""
    painted = np.full(scene, -1)
    for i in np.argsort(rank):
        painted[top[i] : top[i] + sizes[i][0], left[i] : left[i] + sizes[i][1]] = i
    return np.array([(painted == i).sum() / (h * w) for i, (h, w) in enumerate(sizes)])


@pytest.mark.parametrize('count', [2, 3, 5])
def test_visible_shares_by_painting(count):
    rng = np.random.default_rng(count)
    sizes = [(int(h), int(w)) for h, w in rng.integers(10, 60, (count, 2))]
    top, left = rng.integers(0, 40, (2, 30, count))
    rank = np.argsort(rng.uniform(size=(30, count)), axis=1)
    shares = visible_shares(top, left, sizes, rank)
    for b in range(30):
        expected = raster_shares(top[b], left[b], sizes, rank[b], (100, 100))
        assert shares[b] == pytest.approx(expected)


@pytest.mark.parametrize('size', [(256, 128), (256, 192), (384, 128), (224, 224), (128, 64)])
@pytest.mark.parametrize('seed', [0, 1])
def test_every_paste_is_inside_and_half_visible(size, seed):
    recipe = make_recipe(size=size)
    for scales in [(0.75, 0.875), (1.5, 1.375), (1.375, 1.5), (1.5, 0.75), (1.25, 1.125)]:
        queries = recipe['multires'].sizes(Draw(values={'scales': scales}))
        sizes = recipe['scene'].paste_sizes(queries)
        assert len(sizes) == 3  # two queries and a distractor
        scene = recipe['scene'].size
        numbers = uniforms(seed, 'scene', np.arange(100), 0, random_layout_numbers(3))
        top, left, order = draw_random_layout(numbers, sizes, scene, 0.5)
        rank = np.argsort(order, axis=1)
        assert min(top.min(), left.min()) >= 0
        assert (top + [h for h, _ in sizes] <= scene[0]).all()
        assert (left + [w for _, w in sizes] <= scene[1]).all()
        for b in range(0, 100, 10):
            assert raster_shares(top[b], left[b], sizes, rank[b], scene).min() >= 0.5
        assert visible_shares(top, left, sizes, rank).min() >= 0.5


def test_side_by_side_is_valid_where_nothing_else_is():
    sizes = [(224, 96), (224, 88), (224, 96)]
    order = np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0]])
    left = _side_by_side(sizes, 224, order)
    shares = visible_shares(np.zeros_like(left), left, sizes, np.argsort(order, axis=1))
    assert shares.min() >= 0.5
    assert (left.max(axis=1) == 224 - np.array([96, 96, 96])).all()


def constant_scene(preset: str, size: tuple[int, int], alpha: float = 1.0):
    """A scene of black backgrounds in which paste number i is of gray level 50 (i + 1)."""
    recipe, batch = make_recipe(preset, size), make_batch(8)
    plan, ops = draw_plan(recipe, batch), make_ops(mode='nearest')
    drawn = plan.draws['scene'].values
    pastes = [
        torch.full((8, 3, *size), 50.0 * (i + 1))
        for i, size in enumerate(drawn['sizes'].tolist())
    ]
    corners = np.stack([drawn['top'], drawn['left']], axis=-1)
    black = torch.zeros(8, 3, *recipe['scene'].size)
    scene = ops.paste(black, pastes, Paste(corners, drawn['order'], alpha))
    views = render(recipe, plan, batch['canvas'], ['scene'], ops)
    return scene, views.targets['scene_masks'], plan


@pytest.mark.parametrize('size', [(256, 128), (256, 192), (384, 128), (224, 224), (128, 64)])
def test_masks_are_where_the_pastes_can_be_seen(size):
    scene, masks, _ = constant_scene('saip', size)
    assert masks.shape == (8, 2, 224, 224)
    for query in range(2):
        assert torch.equal(masks[:, query], (scene[:, 0] == 50 * (query + 1)).float())


def test_full_rectangles_where_overlap_is_allowed():
    scene, masks, plan = constant_scene('saip-paper', (256, 128))
    recipe = make_recipe('saip-paper', (256, 128))
    queries = recipe['multires'].sizes(plan.draws['multires'])
    for query, (height, width) in enumerate(recipe['scene'].paste_sizes(queries)):
        assert (masks[:, query].sum((1, 2)) == height * width).all()
        seen = scene[:, 0] == 50 * (query + 1)
        assert (masks[:, query][seen] == 1).all()
    assert ((masks.sum(1) > 0) == (scene[:, 0] > 0)).all()


def test_official_layout():
    scene, masks, plan = constant_scene('saip-official', (256, 128), alpha=0.7)
    assert torch.allclose(masks[:, 0] * 35 + masks[:, 1] * 70, scene[:, 0])
    assert (masks.sum((2, 3)) == 64 * 32).all()
    left = plan.draws['scene'].values['left']
    assert (left[:, 0] >= left[:, 1] + 32).all()
    recipe = make_recipe('saip-official', (256, 128))
    batch = {'key': torch.arange(20000), 'size': torch.full((20000, 2), 200)}
    many = draw_plan(recipe, batch, ['scene']).draws['scene'].values
    top, left = many['top'], many['left']
    assert (top.min(), top.max()) == (0, 224 - 64 - 2)
    assert (left[:, 1].min(), left[:, 1].max()) == (0, 224 - 2 * 32 - 2)
    assert left[:, 0].max() == 224 - 32 - 2


def test_cells():
    masks = torch.zeros(1, 2, 32, 32)
    masks[0, 0, 8:, 4:20] = 1  # rows 8.., columns 4..19 of cells of 16
    masks[0, 1, 0:1, 16:17] = 1
    cover = cell_targets(masks, (2, 2), 'cover')
    # Query 0 covers 8*12, 8*4, 16*12 and 16*4 of 256 pixels.
    assert cover[0].tolist() == [[[0, 0], [1, 0]], [[0, 0], [0, 0]]]
    assert cell_targets(masks, (2, 2), 'nearest')[0, 1].tolist() == [[0, 1], [0, 0]]
    exactly_half = torch.zeros(1, 1, 16, 16)
    exactly_half[..., :8, :] = 1
    assert cell_targets(exactly_half, (1, 1), 'cover').item() == 1
    with pytest.raises(ValueError, match='cover, nearest'):
        cell_targets(masks, (2, 2), 'mean')
