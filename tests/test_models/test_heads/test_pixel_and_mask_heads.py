import math

import pytest
import torch

from saip.models.heads import AttentionRelationHead, InstanceMaskHead, PixelReconstructionHead
from saip.models.ops.patchify import patchify
from saip.structures import PatchMask, Relations


def mask_of(hidden_rows):
    hidden = torch.tensor(hidden_rows)
    restore = torch.arange(8).expand(len(hidden), 8)
    return PatchMask(keep=restore[:, :2], restore=restore, scored=hidden)


def test_zero_prediction_of_normalized_pixels_scores_almost_one():
    head = PixelReconstructionHead()
    images = torch.rand(2, 3, 64, 32)
    mask = mask_of([[0, 3, 5], [1, 2, 7]])
    loss = head.loss(torch.zeros(2, 3, 768), images, mask)
    # Unbiased variance over 768 values: the mean square is 767/768.
    assert loss.item() == pytest.approx(767 / 768, rel=1e-3)


def test_plain_pixels_on_scored_patches():
    head = PixelReconstructionHead(norm_pix=False)
    images = torch.rand(1, 3, 64, 32)
    prediction = torch.rand(1, 2, 768)
    target = patchify(images, 16)[0, [3, 6]]
    expected = (prediction[0] - target).square().mean()
    torch.testing.assert_close(head.loss(prediction, images, mask_of([[3, 6]])), expected)


def test_padded_entries_do_not_count():
    head = PixelReconstructionHead(norm_pix=False)
    images = torch.rand(2, 3, 64, 32)
    mask = mask_of([[0, 3], [1, 2]])
    weighted = PatchMask(mask.keep, mask.restore, mask.scored, torch.tensor([[1, 0], [1, 1]]))
    prediction = torch.rand(2, 2, 768)
    patches = patchify(images, 16)
    errors = [
        (prediction[0, 0] - patches[0, 0]).square().mean(),
        (prediction[1, 0] - patches[1, 1]).square().mean(),
        (prediction[1, 1] - patches[1, 2]).square().mean(),
    ]
    torch.testing.assert_close(
        head.loss(prediction, images, weighted), torch.stack(errors).mean()
    )


def test_all_patches_can_be_scored():
    head = PixelReconstructionHead(norm_pix=False, scored='all')
    images = torch.rand(1, 3, 64, 32)
    mask = mask_of([[3]])
    assert head.select(mask).tolist() == [list(range(8))]
    torch.testing.assert_close(
        head.loss(torch.zeros(1, 8, 768), images, mask), images.square().mean()
    )


@pytest.mark.parametrize(('kind', 'zero'), [('bce', math.log(2)), ('mse', 0.25)])
def test_undecided_masks(kind, zero):
    head = InstanceMaskHead(loss=kind)
    masks = torch.zeros(2, 3, 32, 32)
    masks[:, 1, :16] = 1
    losses = head.loss(torch.zeros(2, 3, 2, 2), masks)
    torch.testing.assert_close(losses, torch.full((3,), zero))


def test_half_covered_cells_are_positive():
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., 8:20, :16] = 1  # half of the upper left cell, a quarter of the lower left one
    confident = torch.tensor([[[[50.0, -50.0], [-50.0, -50.0]]]])
    assert InstanceMaskHead(cell_rule='cover').loss(confident, masks).item() < 1e-6
    # The top-left pixel of the upper left cell is not covered, that of the lower left is.
    nearest = torch.tensor([[[[-50.0, -50.0], [50.0, -50.0]]]])
    assert InstanceMaskHead(cell_rule='nearest').loss(nearest, masks).item() < 1e-6


def test_relations_equal_kl_divergence():
    torch.manual_seed(0)
    ours = [torch.randn(2, 3, 5, 5).softmax(-1) for _ in range(2)]
    theirs = [torch.randn(2, 3, 5, 5).softmax(-1) for _ in range(2)]
    loss = AttentionRelationHead().loss(Relations(*ours), Relations(*theirs))
    expected = sum(
        (t * (t / s).log()).sum(-1).mean() for s, t in zip(ours, theirs, strict=True)
    )
    torch.testing.assert_close(loss, expected)
    assert AttentionRelationHead().loss(
        Relations(*ours), Relations(*ours)
    ).item() == pytest.approx(0)


@pytest.mark.parametrize(
    'build',
    [
        lambda: PixelReconstructionHead(scored='some'),
        lambda: InstanceMaskHead(loss='l1'),
        lambda: InstanceMaskHead(cell_rule='any'),
    ],
)
def test_wrong_options_are_refused(build):
    with pytest.raises(ValueError, match='choose'):
        build()
