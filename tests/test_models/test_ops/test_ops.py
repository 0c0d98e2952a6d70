import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed

from saip.models.ops.blocks import SelfBlock
from saip.models.ops.patchify import patchify
from saip.models.ops.pos_embed import resample, resample_sequence


def test_patchify_orders_values_by_row_column_channel():
    image = torch.arange(2 * 3 * 32 * 16, dtype=torch.float32).reshape(2, 3, 32, 16)
    patches = patchify(image, 16)
    assert patches.shape == (2, 2, 768)
    expected = torch.stack([image[1, :, 16 + r, c] for r in range(16) for c in range(16)])
    assert torch.equal(patches[1, 1], expected.flatten())


def test_grid_resampling_equals_mmpretrains():
    rows = torch.randn(16 * 8, 6)
    ours = resample(rows, (16, 8), (9, 12), 'grid2d')
    theirs = resize_pos_embed(rows[None], (16, 8), (9, 12), 'bicubic', 0)[0]
    torch.testing.assert_close(ours, theirs)


def test_sequence_resampling_ignores_the_grid():
    rows = torch.randn(128, 6, dtype=torch.float64)
    scale = 33 / 128
    expected = F.interpolate(
        rows.T.reshape(1, 6, 128, 1), scale_factor=(scale, 1), mode='bicubic'
    )[0, :, :, 0].T
    torch.testing.assert_close(resample_sequence(rows, 33), expected)
    assert resample(rows, (16, 8), (8, 16), 'flat1d') is rows


def test_a_block_for_some_queries_equals_the_whole_block_there():
    block = SelfBlock(32, 4).double()
    x = torch.randn(3, 9, 32, dtype=torch.float64)
    torch.testing.assert_close(block(x, queries=2), block(x)[:, :2])
