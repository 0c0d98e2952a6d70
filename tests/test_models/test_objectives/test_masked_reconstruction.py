"""MAE: against mmpretrain's own on square images, against loops over patches on others."""

import pytest
import torch
from mmpretrain.models.heads import MAEPretrainHead
from mmpretrain.models.necks import MAEPretrainDecoder
from mmpretrain.models.selfsup import MAEViT

from saip.errors import InputError
from saip.models.backbones import ViTEncoder
from saip.models.heads import PixelReconstructionHead
from saip.models.necks import MaskedPatchDecoder
from saip.models.objectives import MaskedReconstruction, Parts
from saip.structures import Encoded, EncodeRequest, Outputs, PatchMask, View, Views
from tests.tiny import ARCH

FINAL = Outputs(image_token=True, patch_tokens=True)
NARROW = dict(type='saip.MaskedPatchDecoder', dims=32, depth=2, num_heads=4)
STOCK_NAMES = {
    'embed.': 'decoder_embed.',
    'norm.': 'ln1.',
    'predict.': 'decoder_pred.',
    'blocks.': 'decoder_blocks.',
    '.norm1.': '.ln1.',
    '.norm2.': '.ln2.',
    '.mlp.fc1.': '.ffn.layers.0.0.',
    '.mlp.fc2.': '.ffn.layers.1.',
}


def random_mask(batch, grid, ratio=0.75):
    length = grid[0] * grid[1]
    order = torch.stack([torch.randperm(length) for _ in range(batch)])
    kept = int(length * (1 - ratio))
    return PatchMask(order[:, :kept], order.argsort(1), order[:, kept:])


def build(size, norm_pix=True):
    """Encoder and objective in float64, away from their initial values."""
    encoder = ViTEncoder(arch=ARCH, img_size=size, feature_level=2, pos_init='sincos')
    encoder.init_weights()
    zero = torch.zeros(3, 1, 1)
    head = dict(type='saip.PixelReconstructionHead', norm_pix=norm_pix)
    objective = MaskedReconstruction(Parts(encoder, None, {}, zero, zero + 1), NARROW, head)
    for parameter in (*encoder.parameters(), *objective.parameters()):
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return encoder.double(), objective.double()


def our_loss(encoder, objective, view):
    views = Views({'masked': view})
    return objective.loss(Encoded({'masked': encode(encoder, view)}), Encoded({}), views)


def encode(encoder, view):
    request = EncodeRequest(view.images, FINAL, view.mask.keep)
    return encoder.encode_requests([request])[0]


class GivenMask(MAEViT):
    """mmpretrain's encoder with the mask of a test in place of its own."""

    given: PatchMask

    def random_masking(self, x, mask_ratio=0.75):
        keep = self.given.keep
        mask = torch.ones(x.shape[:2], dtype=x.dtype).scatter_(1, keep, 0.0)
        visible = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
        return visible, mask, self.given.restore


def stock_decoder(decoder):
    """mmpretrain's with the same weights and positions."""
    stock = MAEPretrainDecoder(
        num_patches=len(decoder.positions),
        embed_dim=48,
        decoder_embed_dim=32,
        decoder_depth=2,
        decoder_num_heads=4,
    ).double()
    rows = torch.cat([torch.zeros(1, 32), decoder.positions])[None]
    state = {'decoder_pos_embed': rows}
    for name, value in decoder.state_dict().items():
        for ours, theirs in STOCK_NAMES.items():
            at_start = name.startswith(ours)
            if at_start or (ours.startswith('.') and ours in name):
                name = name.replace(ours, theirs, 1)
        state[name] = value
    stock.load_state_dict(state, strict=True)
    return stock


@pytest.mark.parametrize('norm_pix', [True, False])
@pytest.mark.parametrize('side', [32, 64])
def test_loss_and_gradients_are_mmpretrains_on_square_images(side, norm_pix):
    encoder, objective = build((side, side), norm_pix)
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    mask = random_mask(3, (side // 16, side // 16))
    stock = GivenMask(arch=ARCH, img_size=side, patch_size=16).double()
    stock.load_state_dict(encoder.state_dict(), strict=True)
    stock.given = mask
    decoder = stock_decoder(objective.neck)
    head = MAEPretrainHead(
        dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'), norm_pix, 16
    )
    latent, hidden, restore = stock(images)
    expected = head.loss(decoder(latent, restore), images, hidden)
    found = our_loss(encoder, objective, View(images, mask))
    assert set(found) == {'loss'}
    torch.testing.assert_close(found['loss'], expected)
    found['loss'].backward()
    expected.backward()
    for name, parameter in stock.named_parameters():
        ours = encoder.get_parameter(name)
        assert ours.requires_grad is parameter.requires_grad, name
        if parameter.requires_grad:
            torch.testing.assert_close(ours.grad, parameter.grad)
    torch.testing.assert_close(objective.neck.mask_token.grad, decoder.mask_token.grad)
    names = ('predict', 'decoder_pred'), ('embed', 'decoder_embed')
    for one, other in names:
        ours, theirs = getattr(objective.neck, one), getattr(decoder, other)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize('size', [(64, 32), (96, 48), (48, 64), (32, 128)])
@pytest.mark.parametrize('batch', [1, 3])
def test_target_and_mean_against_a_loop_over_patches(size, batch):
    encoder, objective = build(size)
    images = torch.randn(batch, 3, *size, dtype=torch.float64)
    grid = (size[0] // 16, size[1] // 16)
    mask = random_mask(batch, grid)
    view = View(images, mask)
    with torch.no_grad():
        loss = our_loss(encoder, objective, view)['loss']
        features = encode(encoder, view)
        every = torch.arange(grid[0] * grid[1]).expand(batch, -1)
        predicted = objective.neck(features.require_final(), mask, every)
    errors = []
    for b in range(batch):
        for index in mask.scored[b].tolist():
            top, left = index // grid[1] * 16, index % grid[1] * 16
            pixels = images[b, :, top : top + 16, left : left + 16].permute(1, 2, 0).flatten()
            deviation = ((pixels - pixels.mean()) ** 2).sum() / (pixels.numel() - 1)
            wanted = (pixels - pixels.mean()) / (deviation + 1e-6) ** 0.5
            errors.append(((predicted[b, index] - wanted) ** 2).mean())
    assert len(errors) == batch * mask.scored.shape[1]
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_the_encoder_never_sees_hidden_pixels():
    encoder, _ = build((64, 32))
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    mask = random_mask(2, (4, 2))
    before = encode(encoder, View(images, mask)).require_final()
    other = images.clone()
    for b in range(2):
        for index in mask.scored[b].tolist():
            top, left = index // 2 * 16, index % 2 * 16
            other[b, :, top : top + 16, left : left + 16] = 7.0
    after = encode(encoder, View(other, mask)).require_final()
    assert torch.equal(before.require_patch_tokens(), after.require_patch_tokens())
    assert torch.equal(before.require_image_token(), after.require_image_token())


def test_the_decoder_takes_other_grids_and_reads_every_visible_token():
    decoder = MaskedPatchDecoder(48, (8, 4), dims=32, depth=1, num_heads=4)
    mask = random_mask(2, (6, 3))
    encoder = ViTEncoder(arch=ARCH, img_size=(128, 64), feature_level=2, pos_init='sincos')
    images = torch.randn(2, 3, 96, 48)
    output = encode(encoder, View(images, mask)).require_final()
    output.patch_tokens.retain_grad()
    predicted = decoder(output, mask, mask.scored)
    assert predicted.shape == (2, mask.scored.shape[1], 768)
    predicted.square().sum().backward()
    assert output.patch_tokens.grad.abs().sum(-1).min() > 0
    assert 'positions' not in decoder.state_dict()


def test_a_width_without_quarters_is_refused():
    with pytest.raises(InputError, match='a multiple of 4, not 30'):
        MaskedPatchDecoder(48, (8, 4), dims=30, num_heads=5)


def test_all_patches_can_be_scored():
    encoder, objective = build((64, 32))
    objective.head = PixelReconstructionHead(scored='all')
    view = View(torch.randn(2, 3, 64, 32, dtype=torch.float64), random_mask(2, (4, 2)))
    assert our_loss(encoder, objective, view)['loss'].isfinite()
