"""CAE: against a restatement in plain formulas, and against mmpretrain's where that is right."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.losses import CAELoss
from mmpretrain.models.necks import CAENeck
from mmpretrain.models.selfsup.cae import CAEPretrainViT

from saip.errors import InputError
from saip.models.backbones import ViTEncoder
from saip.models.experts import EMAExpert
from saip.models.objectives import ContextAutoencoder, Parts
from saip.models.tokenizers import DiscreteVAE
from saip.structures import Encoded, EncodeRequest, Outputs, PatchMask, View, Views
from tests.tiny import ARCH

FINAL = Outputs(patch_tokens=True)
REGRESSOR = dict(type='saip.LatentRegressor', depth=2, num_heads=3)
DECODER = dict(type='saip.MaskedLatentDecoder', depth=2, num_heads=3)
PIXELS = dict(type='saip.PixelTarget')


def random_masks(batch, grid, hidden):
    """A mask and its complement, in raster order as the maskers give them."""
    length = grid[0] * grid[1]
    order = torch.stack([torch.randperm(length) for _ in range(batch)])
    keep, scored = order[:, hidden:].sort(1)[0], order[:, :hidden].sort(1)[0]
    restore = torch.cat([keep, scored], 1).argsort(1)
    other = torch.cat([scored, keep], 1).argsort(1)
    return PatchMask(keep, restore, scored), PatchMask(scored, other, keep)


def build(size, target=PIXELS, dims=None, gain=0.1, arch=ARCH):
    """Encoder, expert and objective in float64, away from their initial values."""
    encoder = ViTEncoder(
        arch=arch, img_size=size, feature_level=2, pos_init='sincos', layer_scale=gain
    )
    encoder.init_weights()
    expert = EMAExpert(encoder, momentum=0.0)
    zero = torch.zeros(3, 1, 1)
    objective = ContextAutoencoder(
        Parts(encoder, expert, {}, zero, zero + 1),
        dict(REGRESSOR, dims=dims, layer_scale=gain),
        dict(DECODER, layer_scale=gain),
        target,
    )
    for parameter in (*encoder.parameters(), *objective.parameters()):
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    encoder, objective = encoder.double(), objective.double()
    expert.follow({'backbone': encoder})
    expert.copy_from_student()
    return encoder, expert, objective


def encode(encoder, view):
    return encoder.encode_requests([EncodeRequest(view.images, FINAL, view.mask.keep)])[0]


def our_loss(encoder, expert, objective, images, masks, **others):
    views = Views({'masked': View(images, masks[0]), 'complement': View(images, masks[1])})
    views.by_name.update(others)
    with torch.no_grad():
        seen = encode(expert.backbone, views['complement'])
    student = Encoded({'masked': encode(encoder, views['masked'])})
    return objective.loss(student, Encoded({'complement': seen}), views)


# The restatement: image by image, head by head, from the tensors by their names.


def linear(x, state, name):
    bias = state.get(f'{name}.bias')
    return x @ state[f'{name}.weight'].T + (0 if bias is None else bias)


def norm(x, state, name):
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return x * state[f'{name}.weight'] + state[f'{name}.bias']


def attention(q, k, v, heads):
    parts = []
    for a, b, c in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
        scores = a @ b.T / a.shape[-1] ** 0.5
        weights = (scores - scores.max(-1, keepdim=True)[0]).exp()
        parts.append(weights / weights.sum(-1, keepdim=True) @ c)
    return torch.cat(parts, -1)


def gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def gain(state, name):
    return state.get(f'{name}.weight', 1.0)


def encoded(state, image, keep, heads, depth):
    """Final tokens of the kept patches of one image."""
    grid = image.shape[1] // 16, image.shape[2] // 16
    kernel = state['patch_embed.projection.weight'].flatten(1)
    rows = [state['cls_token'][0, 0] + state['pos_embed'][0, 0]]
    for index in keep.tolist():
        top, left = index // grid[1] * 16, index % grid[1] * 16
        patch = image[:, top : top + 16, left : left + 16].flatten()
        bias = state['patch_embed.projection.bias'] + state['pos_embed'][0, 1 + index]
        rows.append(kernel @ patch + bias)
    x = torch.stack(rows)
    for i in range(depth):
        block = f'layers.{i}.'
        q, k, v = linear(norm(x, state, f'{block}ln1'), state, f'{block}attn.qkv').chunk(3, -1)
        read = linear(attention(q, k, v, heads), state, f'{block}attn.proj')
        x = x + gain(state, f'{block}attn.gamma1') * read
        hidden = gelu(linear(norm(x, state, f'{block}ln2'), state, f'{block}ffn.layers.0.0'))
        branch = linear(hidden, state, f'{block}ffn.layers.1')
        x = x + gain(state, f'{block}ffn.gamma2') * branch
    return norm(x, state, 'ln1')[1:]


def sincos(grid, dims):
    """One row per patch in raster order: column waves, then row waves."""
    rows = []
    for y in range(grid[0]):
        for x in range(grid[1]):
            waves = []
            for place in (x, y):
                angles = [place / 10000 ** (4 * i / dims) for i in range(dims // 4)]
                angles = torch.tensor(angles, dtype=torch.float64)
                waves += [angles.sin(), angles.cos()]
            rows.append(torch.cat(waves))
    return torch.stack(rows)


def embedded(state, x):
    if 'embed.0.weight' not in state:
        return x
    return norm(linear(x, state, 'embed.0'), state, 'embed.1')


def mlp(state, x, name):
    return linear(gelu(linear(x, state, f'{name}.fc1')), state, f'{name}.fc2')


def regressed(state, visible, at_visible, at_hidden, heads=3, depth=2):
    hidden = state['mask_token'][0].expand(len(at_hidden), -1)
    for i in range(depth):
        block = f'blocks.{i}.'
        memory = torch.cat([visible, hidden])
        places = torch.cat([at_visible, at_hidden])
        q = linear(
            norm(hidden + at_hidden, state, f'{block}norm_query'), state, f'{block}query'
        )
        k = linear(norm(memory + places, state, f'{block}norm_key'), state, f'{block}key')
        v = linear(norm(memory, state, f'{block}norm_value'), state, f'{block}value')
        read = linear(attention(q, k, v, heads), state, f'{block}proj')
        x = norm(hidden + gain(state, f'{block}gain1') * read, state, f'{block}norm2')
        hidden = x + gain(state, f'{block}gain2') * mlp(state, x, f'{block}mlp')
    return norm(hidden, state, 'norm')


def decoded(state, x, heads=3, depth=2):
    for i in range(depth):
        block = f'blocks.{i}.'
        q, k, v = linear(norm(x, state, f'{block}norm1'), state, f'{block}attn.qkv').chunk(
            3, -1
        )
        read = linear(attention(q, k, v, heads), state, f'{block}attn.proj')
        x = x + gain(state, f'{block}gain1') * read
        branch = mlp(state, norm(x, state, f'{block}norm2'), f'{block}mlp')
        x = x + gain(state, f'{block}gain2') * branch
    return linear(norm(x, state, 'norm'), state, 'predict')


@pytest.mark.parametrize(
    ('size', 'hidden', 'dims', 'gain'),
    [
        ((256, 128), 64, None, 0.1),
        ((64, 64), 8, 24, 0.1),
        ((64, 32), 3, None, 0.0),
        ((48, 64), 6, 36, 1e-5),
    ],
)
def test_the_loss_is_that_of_the_formulas(size, hidden, dims, gain):
    encoder, expert, objective = build(size, dims=dims, gain=gain)
    grid = size[0] // 16, size[1] // 16
    masks = random_masks(2, grid, hidden)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    found = our_loss(encoder, expert, objective, images, masks)
    of_encoder = encoder.state_dict()
    regressor, decoder = objective.regressor.state_dict(), objective.decoder.state_dict()
    # Tables are kept in float32: compared with the formula here, and taken as they are below.
    table, rounded = objective.regressor.positions, dict(atol=1e-7, rtol=0)
    torch.testing.assert_close(table, sincos(grid, objective.regressor.dims), **rounded)
    torch.testing.assert_close(of_encoder['pos_embed'][0, 1:], sincos(grid, 48), **rounded)
    aligned, errors = [], []
    for b in range(2):
        keep, rest = masks[0].keep[b], masks[0].scored[b]
        visible = embedded(regressor, encoded(of_encoder, images[b], keep, 3, 4))
        wanted = embedded(regressor, encoded(of_encoder, images[b], rest, 3, 4))
        latents = regressed(regressor, visible, table[keep], table[rest])
        aligned.append((latents - wanted).square().mean())
        predicted = decoded(decoder, latents + table[rest])
        for row, index in zip(predicted, rest.tolist(), strict=True):
            top, left = index // grid[1] * 16, index % grid[1] * 16
            pixels = images[b, :, top : top + 16, left : left + 16].permute(1, 2, 0).flatten()
            deviation = ((pixels - pixels.mean()) ** 2).sum() / (pixels.numel() - 1)
            goal = (pixels - pixels.mean()) / (deviation + 1e-6) ** 0.5
            errors.append((row - goal).square().mean())
    exact = dict(atol=1e-10, rtol=0)
    torch.testing.assert_close(found['aligned'], torch.stack(aligned).mean(), **exact)
    torch.testing.assert_close(found['decoded'], torch.stack(errors).mean(), **exact)
    torch.testing.assert_close(
        found['loss'], torch.stack(errors).mean() + 2 * torch.stack(aligned).mean(), **exact
    )


def test_positions_are_in_raster_order_on_a_tall_grid():
    _, _, objective = build((256, 128))
    table = sincos((16, 8), 48)
    mask, _ = random_masks(2, (16, 8), 64)
    places = objective.regressor.places((16, 8), mask.scored)
    torch.testing.assert_close(places, table[mask.scored], atol=1e-7, rtol=0)


# mmpretrain's classes, on square images with the 75 hidden patches that it is shipped with.


def stock_encoder(state, size):
    stock = CAEPretrainViT(arch=ARCH, img_size=size, layer_scale_init_value=0.1)
    names = {'attn.gamma1.weight': 'gamma_1', 'ffn.gamma2.weight': 'gamma_2'}
    renamed = {}
    for name, value in state.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        if name.endswith('qkv.bias'):
            q, k, v = value.chunk(3)
            assert not k.any()
            renamed[name.replace('qkv.bias', 'q_bias')] = q
            renamed[name.replace('qkv.bias', 'v_bias')] = v
        else:
            renamed[name] = value
    stock.load_state_dict(renamed, strict=True)
    stock.double().eval()  # which returns None there
    return stock


def stock_neck(regressor, decoder, classes):
    stock = CAENeck(
        classes,
        48,
        regressor_depth=2,
        decoder_depth=2,
        num_heads=3,
        layer_scale_init_value=0.1,
    )
    renamed = {'mask_token': regressor['mask_token']}
    cross = {
        'norm_query.': 'norm1_q_cross.',
        'norm_key.': 'norm1_k_cross.',
        'norm_value.': 'norm1_v_cross.',
        'norm2.': 'norm2_cross.',
        'query.bias': 'cross_attn.q_bias',
        'value.bias': 'cross_attn.v_bias',
        'query.': 'cross_attn.q.',
        'key.': 'cross_attn.k.',
        'value.': 'cross_attn.v.',
        'proj.': 'cross_attn.proj.',
        'mlp.fc1.': 'ffn.layers.0.0.',
        'mlp.fc2.': 'ffn.layers.1.',
        'gain1.weight': 'gamma_1_cross',
        'gain2.weight': 'gamma_2_cross',
    }
    plain = {
        'norm1.': 'ln1.',
        'norm2.': 'ln2.',
        'attn.': 'attn.',
        'mlp.fc1.': 'ffn.layers.0.0.',
        'mlp.fc2.': 'ffn.layers.1.',
        'gain1.weight': 'gamma_1',
        'gain2.weight': 'gamma_2',
    }
    for state, table, stack in ((regressor, cross, 'regressors'), (decoder, plain, 'decoders')):
        for name, value in state.items():
            if not name.startswith('blocks.'):
                continue
            _, number, rest = name.split('.', 2)
            ours = next(one for one in table if rest.startswith(one))
            renamed[f'{stack}.{number}.{table[ours]}{rest.removeprefix(ours)}'] = value
    for name in [name for name in renamed if name.endswith('qkv.bias')]:
        q, k, v = renamed.pop(name).chunk(3)
        assert not k.any()
        renamed |= {
            name.replace('qkv.bias', 'q_bias'): q,
            name.replace('qkv.bias', 'v_bias'): v,
        }
    for part in ('weight', 'bias'):
        renamed[f'norm_regressor.{part}'] = regressor[f'norm.{part}']
        renamed[f'norm_decoder.{part}'] = decoder[f'norm.{part}']
        renamed[f'head.{part}'] = decoder[f'predict.{part}']
    stock.load_state_dict(renamed, strict=True)
    return stock.double()


def drop_key_biases(module):
    """CAE has no bias of keys; ours has one, which softmax ignores."""
    for name, parameter in module.named_parameters():
        if name.endswith('qkv.bias'):
            third = len(parameter) // 3
            parameter.data[third : 2 * third] = 0


def test_losses_and_gradients_are_mmpretrains_on_squares_with_75_hidden_patches(tmp_path):
    tiny = dict(num_codes=11, code_dims=4, width=8, depth=1)
    torch.save({'state_dict': DiscreteVAE(**tiny).state_dict()}, tmp_path / 'dvae.pth')
    tokens = dict(
        type='saip.TokenTarget',
        tokenizer=dict(type='saip.DiscreteVAE', **tiny),
        checkpoint=str(tmp_path / 'dvae.pth'),
    )
    encoder, expert, objective = build((224, 224), tokens)
    for module in (encoder, objective):
        drop_key_biases(module)
    expert.copy_from_student()
    masks = random_masks(2, (14, 14), 75)
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    small = F.interpolate(images, (112, 112))
    found = our_loss(encoder, expert, objective, images, masks, tokenized=View(small))
    codes = objective.target.codes(Views({'tokenized': View(small)}), 196)

    stock = stock_encoder(encoder.state_dict(), 224)
    neck = stock_neck(objective.regressor.state_dict(), objective.decoder.state_dict(), 11)
    hidden = torch.zeros(2, 196, dtype=torch.bool).scatter_(1, masks[0].scored, True)
    # Its positions are rounded to float32, in our encoder as well.
    positions = objective.regressor.positions.expand(2, -1, -1)
    unmasked = stock(images, hidden)
    with torch.no_grad():
        wanted = stock(images, ~hidden)[:, 1:]
    logits, latents = neck(
        unmasked[:, 1:],
        positions[hidden].view(2, 75, 48),
        positions[~hidden].view(2, 121, 48),
    )
    main, align = CAELoss(2)(logits.flatten(0, 1), codes[hidden], latents, wanted)
    exact = dict(atol=1e-10, rtol=0)
    torch.testing.assert_close(found['decoded'], main.detach(), **exact)
    torch.testing.assert_close(2 * found['aligned'], align.detach(), **exact)
    found['loss'].backward()
    (main + align).backward()
    pairs = [
        ('patch_embed.projection.weight', 'patch_embed.projection.weight'),
        ('layers.1.attn.gamma1.weight', 'layers.1.gamma_1'),
        ('layers.2.ffn.layers.0.0.weight', 'layers.2.ffn.layers.0.0.weight'),
        ('cls_token', 'cls_token'),
    ]
    for ours, theirs in pairs:
        gradient = stock.get_parameter(theirs).grad
        torch.testing.assert_close(encoder.get_parameter(ours).grad, gradient, **exact)
    for ours, theirs in (
        ('mask_token', 'mask_token'),
        ('blocks.0.key.weight', 'regressors.0.cross_attn.k.weight'),
        ('blocks.1.gain2.weight', 'regressors.1.gamma_2_cross'),
    ):
        gradient = neck.get_parameter(theirs).grad
        torch.testing.assert_close(
            objective.regressor.get_parameter(ours).grad, gradient, **exact
        )
    torch.testing.assert_close(
        objective.decoder.predict.weight.grad, neck.head.weight.grad, **exact
    )


def test_gradients_reach_all_that_learns_and_never_the_target_of_the_alignment():
    encoder, expert, objective = build((64, 32), dims=24)
    masks = random_masks(2, (4, 2), 4)
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    our_loss(encoder, expert, objective, images, masks)['loss'].backward()
    learning = {**dict(encoder.named_parameters()), **dict(objective.named_parameters())}
    still = [n for n, p in learning.items() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert still == []
    assert all(p.grad is None and not p.requires_grad for p in expert.parameters())


def test_the_alignment_alone_leaves_the_projection_of_the_target_without_gradient():
    """Only the visible side of the shared projection learns: that of formulas with a constant."""
    encoder, expert, objective = build((64, 32), dims=24)
    masks = random_masks(2, (4, 2), 4)
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    views = {'masked': View(images, masks[0]), 'complement': View(images, masks[1])}
    seen = encode(expert.backbone, views['complement']).require_final().require_patch_tokens()
    features = encode(encoder, views['masked']).require_final()
    latents = objective.regressor(features, masks[0])
    constant = objective.regressor.embed(seen).detach()
    expected = torch.autograd.grad(
        2 * (latents - constant).square().mean(), objective.regressor.embed[0].weight
    )[0]
    objective.target.loss = lambda *_: {'loss': torch.zeros((), dtype=torch.float64)}
    our_loss(encoder, expert, objective, images, masks)['loss'].backward()
    found = objective.regressor.embed[0].weight.grad
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_a_view_that_is_not_the_complement_is_refused():
    encoder, expert, objective = build((64, 32))
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    mask, _ = random_masks(2, (4, 2), 3)
    with pytest.raises(
        InputError, match=r'show the 3 patches that masked hides: .*ComplementM'
    ):
        our_loss(encoder, expert, objective, images, (mask, mask))


def test_without_an_average_of_the_encoder_it_is_refused():
    encoder, _, _ = build((64, 32))
    zero = torch.zeros(3, 1, 1)
    with pytest.raises(InputError, match=r'saip\.EMAExpert'):
        ContextAutoencoder(Parts(encoder, None, {}, zero, zero), REGRESSOR, DECODER, PIXELS)
