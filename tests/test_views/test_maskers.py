import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saip.views import BlockMask, Clock, HostBatch, MaskDraw, RandomMask, uniforms
from saip.views.base import Frame
from saip.views.maskers.official import official_mask

GRIDS = [(16, 8), (20, 10), (12, 6), (9, 4), (24, 8), (3, 5)]
FRAME = Frame((256, 128), 16)


def draw(masker, grid, keys, epoch: int = 0, seed: int = 0) -> MaskDraw:
    keys = np.asarray(keys)
    batch = HostBatch(keys, np.full((len(keys), 2), 100))
    return masker.draw('mask', grid, Clock(seed, epoch, 0), batch, {})


def hidden_map(mask: MaskDraw, grid) -> np.ndarray:
    """(B, h, w) bool."""
    hidden = np.zeros((len(mask.keep), grid[0] * grid[1]), dtype=bool)
    np.put_along_axis(hidden, mask.scored, True, axis=1)
    return hidden.reshape(-1, *grid)


def check_counts(mask: MaskDraw, patches: int, kept: int) -> None:
    """Every patch is either kept or scored, in raster order, and can be put back."""
    count = len(mask.keep)
    assert mask.keep.shape == (count, kept)
    assert mask.scored.shape == (count, patches - kept)
    assert mask.scored_weight is None
    assert (np.diff(mask.keep, axis=1) > 0).all()
    for b in range(count):
        assert set(mask.keep[b]) | set(mask.scored[b]) == set(range(patches))
        sequence = np.concatenate([mask.keep[b], mask.scored[b]])
        assert (sequence[mask.restore[b]] == np.arange(patches)).all()


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('ratio', [0.75, 0.6, 0.9])
def test_exact_counts(grid, ratio):
    patches = grid[0] * grid[1]
    noise = uniforms(0, 'mask', np.arange(50), 0, patches)
    mask = draw(RandomMask('view', FRAME, ratio), grid, np.arange(50))
    kept = int(patches * round(1 - ratio, 6))
    check_counts(mask, patches, kept)
    for b in range(50):
        assert set(mask.keep[b]) == set(np.argsort(noise[b])[:kept])


def test_random_masks_hide_every_patch_equally_often():
    hidden = hidden_map(
        draw(RandomMask('view', FRAME, 0.75), (16, 8), np.arange(4000)), (16, 8)
    )
    deviation = np.sqrt(0.75 * 0.25 / 4000)
    assert np.abs(hidden.mean(0) - 0.75).max() < 4.5 * deviation
    assert hidden.sum((1, 2)).tolist() == [96] * 4000


def test_official_rule_by_a_second_implementation():
    source, target = (16, 8), (20, 10)
    noise = uniforms(0, 'mask', np.arange(200), 0, 128)
    mask = official_mask(noise, source, target, 0.75)
    visible = torch.zeros(200, 128)
    visible.scatter_(1, torch.from_numpy(noise).argsort(dim=1)[:, :32], 1.0)
    visible = F.interpolate(visible.view(200, 1, *source), scale_factor=1.25).view(200, 200)
    shuffle = torch.argsort(1 - visible, dim=1, stable=True)
    assert (mask.keep == shuffle[:, :50].numpy()).all()
    assert (mask.restore == torch.argsort(shuffle, dim=1).numpy()).all()
    scored = np.zeros((200, 200))
    rows = np.repeat(np.arange(200)[:, None], mask.scored.shape[1], 1)
    np.add.at(scored, (rows, mask.scored), mask.scored_weight)
    assert (scored == 1 - visible.numpy()).all()
    counts = visible.sum(1)
    assert 49 < counts.mean() < 51
    assert counts.std() > 2


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('ratio', [0.4, 0.5, 0.75])
def test_blocks_hide_an_exact_number_of_patches(grid, ratio):
    patches = grid[0] * grid[1]
    masker = BlockMask('view', FRAME, ratio, min_patches=4)
    check_counts(draw(masker, grid, np.arange(60)), patches, int(patches * (1 - ratio) + 1e-9))


def test_blocks_reach_every_side_of_the_grid_equally_often():
    grid, count = (16, 8), 6000
    hidden = hidden_map(draw(BlockMask('view', FRAME), grid, np.arange(count)), grid)
    often = hidden.mean(0)
    assert often.mean() == pytest.approx(0.5)
    # A cell's share has a standard error of 0.0065, a row's or column's one less than that.
    rows, columns = often.mean(1), often.mean(0)
    assert rows == pytest.approx(rows[::-1], abs=0.02)
    assert columns == pytest.approx(columns[::-1], abs=0.02)
    assert often == pytest.approx(often[::-1, ::-1], abs=0.035)
    # A generator that never reaches the last row or column would leave them at nearly 0.
    assert min(rows[-1], columns[-1]) > 0.1


def test_one_block_that_suffices_is_a_square():
    """With aspects of nearly 1, 16 hidden patches are one block of 4x4."""
    grid = (16, 8)
    masker = BlockMask('view', FRAME, ratio=16 / 128, min_patches=16, min_aspect=0.99)
    hidden = hidden_map(draw(masker, grid, np.arange(500)), grid)
    corners = set()
    for each in hidden:
        rows, columns = np.flatnonzero(each.any(1)), np.flatnonzero(each.any(0))
        assert len(rows) == len(columns) == 4
        assert each[rows[0] : rows[0] + 4, columns[0] : columns[0] + 4].all()
        corners.add((int(rows[0]), int(columns[0])))
    assert corners == {(y, x) for y in range(13) for x in range(5)}


def test_blocks_are_coarser_than_random_patches():
    """Neighbors of hidden patches are hidden much more often than the ratio says."""
    grid = (16, 8)
    shares = []
    for masker in (BlockMask('view', FRAME, 0.5), RandomMask('view', FRAME, 0.5)):
        hidden = hidden_map(draw(masker, grid, np.arange(300)), grid)
        shares.append(hidden[:, 1:][hidden[:, :-1]].mean())
    assert shares[0] > 0.75
    assert shares[1] == pytest.approx(0.5, abs=0.02)


def test_blocks_are_keyed_by_image_epoch_and_seed():
    grid, masker = (16, 8), BlockMask('view', FRAME)
    keys = np.array([5, 900, 2**61, 7])
    mask = draw(masker, grid, keys)
    assert (draw(masker, grid, keys[::-1]).keep == mask.keep[::-1]).all()
    for other in (draw(masker, grid, keys, epoch=1), draw(masker, grid, keys, seed=1)):
        assert (other.keep != mask.keep).any(axis=1).all()
