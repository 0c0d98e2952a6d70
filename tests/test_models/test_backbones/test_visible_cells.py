"""Masked passes of convolutional networks, against networks that compute cell by cell."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from saip.models.backbones import TimmEncoder
from saip.models.ops.visible_cells import VisibleCells
from saip.structures import EncodeRequest, Outputs

GRID = (4, 2)
KEEP = torch.tensor([[5, 0, 3], [1, 7, 2]])


@pytest.fixture
def cells():
    return VisibleCells(KEEP, GRID)


def expected_mask(factor):
    """(B, 1, h * factor, w * factor), written out patch by patch."""
    mask = torch.zeros(2, 1, GRID[0] * factor, GRID[1] * factor, dtype=torch.bool)
    for image, kept in enumerate(KEEP.tolist()):
        for patch in kept:
            row, column = patch // 2 * factor, patch % 2 * factor
            mask[image, 0, row : row + factor, column : column + factor] = True
    return mask


@pytest.mark.parametrize('factor', [1, 2, 4, 16])
def test_mask_and_places_of_finer_maps(cells, factor):
    size = (GRID[0] * factor, GRID[1] * factor)
    mask = expected_mask(factor)
    assert torch.equal(cells.mask(size), mask)
    places = cells.places(size)
    assert places.shape == (2, 1, 3 * factor**2)
    for image in range(2):
        found = places[image, 0].sort().values
        assert torch.equal(found, mask[image].flatten().nonzero().flatten())


def test_a_coarse_cell_is_visible_if_one_of_its_patches_is(cells):
    # Images keep the patches (rows of two): 0 | 3 | 5 | - and 1 | 2 | - | 7.
    assert cells.mask((2, 1)).flatten(1).tolist() == [[True, True], [True, True]]
    single = VisibleCells(torch.tensor([[6]]), GRID)
    assert single.mask((2, 1)).flatten().tolist() == [False, True]
    assert cells.places((2, 1)) is None


def test_convolutions_read_visible_cells_alone(cells):
    conv = nn.Conv2d(3, 4, 3, padding=1)
    pointwise = nn.Conv2d(3, 4, 1)
    x = torch.randn(2, 3, 8, 4)
    net = nn.ModuleList([conv, pointwise])
    with cells.applied_to(net):
        spatial, single = conv(x), pointwise(x)
    hidden = x.masked_fill(~expected_mask(2), 0)
    torch.testing.assert_close(spatial, F.conv2d(hidden, conv.weight, conv.bias, padding=1))
    torch.testing.assert_close(single, F.conv2d(x, pointwise.weight, pointwise.bias))
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))


@pytest.mark.parametrize('kind', [nn.BatchNorm2d, timm.layers.BatchNormAct2d])
def test_batch_norm_uses_visible_cells_and_keeps_its_statistics(cells, kind):
    norm = kind(3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm(torch.randn(8, 3, 4, 4))
    before = [norm.running_mean.clone(), norm.running_var.clone()]
    x = torch.randn(2, 3, 8, 4) * 2 + 1
    with cells.applied_to(nn.Sequential(norm)):
        found = norm(x)
    mask = expected_mask(2).expand(-1, 3, -1, -1)
    expected = torch.zeros_like(x)
    for channel in range(3):
        seen = x[:, channel][mask[:, channel]]
        scaled = (seen - seen.mean()) / (seen.var(unbiased=False) + norm.eps).sqrt()
        value = scaled * norm.weight[channel] + norm.bias[channel]
        expected[:, channel][mask[:, channel]] = value
    if kind is timm.layers.BatchNormAct2d:
        expected = expected.relu()
    torch.testing.assert_close(found, expected)
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])
    assert norm.momentum == 0.1
    norm(x)
    assert not torch.equal(norm.running_mean, before[0])


def test_coarse_batch_norm_uses_all_cells(cells):
    norm = nn.BatchNorm2d(3)
    x = torch.randn(2, 3, 2, 1)
    with cells.applied_to(nn.Sequential(norm)):
        torch.testing.assert_close(norm(x), F.batch_norm(x, None, None, training=True))
    assert torch.equal(norm.running_mean, torch.zeros(3))


def test_an_error_inside_leaves_the_network_as_it_was(cells):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(RuntimeError), cells.applied_to(net):
        net(torch.randn(2, 5, 8, 4))
    assert net[1].momentum == 0.1
    assert not net[0]._forward_pre_hooks
    assert not net[1]._forward_pre_hooks
    assert not net[1]._forward_hooks


def test_windows_as_a_batch_are_left_alone(cells):
    conv = nn.Conv2d(3, 4, 3)
    x = torch.randn(6, 3, 8, 4)
    with cells.applied_to(nn.Sequential(conv)):
        torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias))


def encode(encoder, images, keep):
    request = EncodeRequest(images, Outputs(dense=True), keep)
    return encoder.encode_requests([request])[0].dense.patch_tokens


def test_an_isolated_patch_does_not_know_where_the_mask_was():
    """Patches that no convolution joins are encoded alike wherever they are shown."""
    torch.manual_seed(0)
    encoder = TimmEncoder('resnet18').train()
    patch = torch.randn(1, 3, 16, 16)
    images = torch.zeros(1, 3, 160, 160)
    # Far apart and away from the border, so that the receptive fields hold nothing else.
    places = [(2, 2), (2, 7), (7, 4)]
    for row, column in places:
        images[..., row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = patch
    keep = torch.tensor([[row * 10 + column for row, column in places]])
    with torch.no_grad():
        tokens = encode(encoder, images, keep)[0]
    torch.testing.assert_close(tokens[1:], tokens[:1].expand(2, -1), atol=1e-4, rtol=1e-4)


def test_filling_alone_lets_the_mask_in():
    """With ``fill`` a visible patch changes with what is hidden around it: BatchNorm sees it."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 128, 128)
    keep = torch.stack([torch.arange(16), torch.arange(16)])
    wider = torch.nn.functional.pad(images, (0, 0, 0, 128))
    changes = {}
    for masking in ('visible_cells', 'fill'):
        encoder = TimmEncoder('starnet_s1', masking=masking).train()
        with torch.no_grad():
            small, large = encode(encoder, images, keep), encode(encoder, wider, keep)
        changes[masking] = (small - large).abs().mean().item() / small.abs().mean().item()
    # The wider image has more hidden cells and the same visible ones.
    assert changes['visible_cells'] < 1e-5
    assert changes['fill'] > 0.05
