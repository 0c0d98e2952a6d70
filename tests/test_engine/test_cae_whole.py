"""Whole states of published CAE trainings: both layouts, against a restatement of CAE's decoder."""

from argparse import Namespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from saip.checkpoint import CheckpointError, load_encoder
from saip.engine.converters.cae import cae_to_saip
from saip.models.ops.pos_embed import sincos_positions
from saip.registry import MODELS
from saip.structures import EncodeRequest, Outputs, PatchMask
from tests.test_engine.test_cae_converter import WIDTH, features, published
from tests.tiny import ROOT

HEADS, NECK_HEADS, CODES, SIDE = 3, 2, 768, 4
LAYOUTS = {
    'lxtGH': {
        'regressor': 'pretext_neck.regressor_blocks',
        'decoder': 'pretext_neck.decoder_blocks',
        'norm': 'pretext_neck.norm',
        'norm2': 'pretext_neck.norm2',
        'head': 'pretext_neck.head',
        'projection': 'encoder_to_decoder',
        'copy': 'teacher',
    },
    'Atten4Vis': {
        'regressor': 'regresser.regressor_blocks',
        'decoder': 'decoder.decoder_blocks',
        'norm': 'regresser.norm',
        'norm2': 'decoder.norm',
        'head': 'decoder.head',
        'projection': 'encoder_to_regresser',
        'copy': 'alignment_encoder',
    },
}
KEEP, HIDDEN = [0, 2, 3, 5, 9, 10, 14, 15], [1, 4, 6, 7, 8, 11, 12, 13]


def waves(dims):
    """The public codes' positions of a square: first of the row, then of the column."""
    n = dims // 4
    rows = []
    for place in range(SIDE * SIDE):
        parts = []
        for number in divmod(place, SIDE):
            angles = torch.tensor([number / 10000 ** (i / n) for i in range(n)])
            parts += [angles.sin(), angles.cos()]
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def neck(names, dims):
    """Tensors of regressor and decoder by the names of a public code."""
    torch.manual_seed(1)

    def noise(*shape):
        return 0.2 * torch.randn(*shape)

    def linear(name, out, inner, bias=True):
        found = {f'{name}.weight': noise(out, inner)}
        return found | ({f'{name}.bias': noise(out)} if bias else {})

    def norm(name):
        return {f'{name}.weight': 1 + noise(dims), f'{name}.bias': noise(dims)}

    found = {'mask_token': noise(1, 1, dims)}
    for i in range(2):
        block = f'{names["regressor"]}.{i}.'
        for part in ('norm1_q', 'norm1_k', 'norm1_v', 'norm2_cross'):
            found |= norm(block + part)
        for part in 'qkv':
            found |= linear(f'{block}cross_attn.{part}', dims, dims, bias=False)
        found |= {f'{block}cross_attn.{part}_bias': noise(dims) for part in 'qv'}
        found |= linear(f'{block}cross_attn.proj', dims, dims)
        found |= linear(f'{block}mlp_cross.fc1', 4 * dims, dims)
        found |= linear(f'{block}mlp_cross.fc2', dims, 4 * dims)
        found |= {f'{block}gamma_{j}_cross': 0.1 + noise(dims) for j in (1, 2)}
        block = f'{names["decoder"]}.{i}.'
        found |= norm(f'{block}norm1') | norm(f'{block}norm2')
        found |= linear(f'{block}attn.qkv', 3 * dims, dims, bias=False)
        found |= {f'{block}attn.{part}_bias': noise(dims) for part in 'qv'}
        found |= linear(f'{block}attn.proj', dims, dims)
        found |= linear(f'{block}mlp.fc1', 4 * dims, dims)
        found |= linear(f'{block}mlp.fc2', dims, 4 * dims)
        found |= {f'{block}gamma_{j}': 0.1 + noise(dims) for j in (1, 2)}
    found |= norm(names['norm']) | norm(names['norm2']) | linear(names['head'], CODES, dims)
    if dims != WIDTH:
        name = names['projection']
        found |= linear(name, dims, WIDTH) | norm(f'{name}_norm')
    return found


def decoded(w, names, visible, dims):
    """Logits of the hidden patches from the encoder's tokens, by the formulas of CAE's code."""

    def norm(x, name):
        return F.layer_norm(x, (dims,), w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)

    def linear(x, name):
        return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

    def attend(q, k, v):
        parts = zip(*(y.chunk(NECK_HEADS, -1) for y in (q, k, v)), strict=True)
        scale = (dims // NECK_HEADS) ** -0.5
        return torch.cat([(a * scale @ b.mT).softmax(-1) @ c for a, b, c in parts], -1)

    if dims != WIDTH:
        visible = norm(linear(visible, names['projection']), f'{names["projection"]}_norm')
    table = waves(dims)
    here, there = table[HIDDEN], table[KEEP]
    x = w['mask_token'].expand(len(visible), len(HIDDEN), -1)
    for i in range(2):
        block = f'{names["regressor"]}.{i}.'
        memory, places = torch.cat([visible, x], 1), torch.cat([there, here])
        q = norm(x + here, f'{block}norm1_q') @ w[f'{block}cross_attn.q.weight'].T
        k = norm(memory + places, f'{block}norm1_k') @ w[f'{block}cross_attn.k.weight'].T
        v = norm(memory, f'{block}norm1_v') @ w[f'{block}cross_attn.v.weight'].T
        q, v = q + w[f'{block}cross_attn.q_bias'], v + w[f'{block}cross_attn.v_bias']
        read = linear(attend(q, k, v), f'{block}cross_attn.proj')
        x = norm(x + w[f'{block}gamma_1_cross'] * read, f'{block}norm2_cross')
        hidden = F.gelu(linear(x, f'{block}mlp_cross.fc1'))
        x = x + w[f'{block}gamma_2_cross'] * linear(hidden, f'{block}mlp_cross.fc2')
    x = norm(x, names['norm']) + here
    for i in range(2):
        block = f'{names["decoder"]}.{i}.'
        q, k, v = (norm(x, f'{block}norm1') @ w[f'{block}attn.qkv.weight'].T).chunk(3, -1)
        q, v = q + w[f'{block}attn.q_bias'], v + w[f'{block}attn.v_bias']
        x = x + w[f'{block}gamma_1'] * linear(attend(q, k, v), f'{block}attn.proj')
        hidden = F.gelu(linear(norm(x, f'{block}norm2'), f'{block}mlp.fc1'))
        x = x + w[f'{block}gamma_2'] * linear(hidden, f'{block}mlp.fc2')
    return linear(norm(x, names['norm2']), names['head'])


def write(path, layout, dims, **args):
    """A checkpoint as a public code writes it; also the encoder's and the other weights."""
    names, weights = LAYOUTS[layout], published(SIDE)
    weights['pos_embed'] = torch.cat([torch.zeros(1, WIDTH), waves(WIDTH)])[None]
    beside = neck(names, dims)
    state = {f'encoder.{key}': x for key, x in weights.items()} | beside
    if layout == 'Atten4Vis':
        state |= {f'{names["copy"]}.{key}': x for key, x in weights.items()}
        state['rd_pos_embed'] = torch.cat([torch.zeros(1, dims), waves(dims)])[None]
        state = {f'module.{key}': x for key, x in state.items()}
    content = {
        'model': state,
        'optimizer': {'state': {}},
        'epoch': 799,
        'scaler': {'scale': 1.0},
    }
    torch.save(content | {'args': Namespace(decoder_num_heads=NECK_HEADS, **args)}, path)
    return weights, beside


def training(options):
    """A small CAE that begins with a file."""
    cfg = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/cae-small.py')
    cfg.merge_from_dict(options)
    cfg.model.data_preprocessor.size = (64, 64)
    arch = dict(embed_dims=WIDTH, num_layers=2, num_heads=HEADS, feedforward_channels=4 * WIDTH)
    cfg.model.backbone = dict(
        type='saip.ViTEncoder', arch=arch, feature_level=None, **cfg.encoder_options
    )
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.eval()


def said_options(said):
    line = next(line for line in said.splitlines() if line.startswith('--cfg-options '))
    pairs = (pair.split('=') for pair in line.split()[1:])
    return {key: int(value) if value.isdigit() else value for key, value in pairs}


@pytest.mark.parametrize('dims', [WIDTH, 32])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_training_that_begins_with_it_decodes_as_the_release(layout, dims, tmp_path):
    names = LAYOUTS[layout]
    weights, beside = write(tmp_path / 'cae.pth', layout, dims)
    said = str(
        cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'all.pth', HEADS, (64, 64), whole=True)
    )
    assert 'not taken: optimizer: its moments' in said
    assert 'epoch 799: schedules begin anew' in said
    assert f'dropped: {names["copy"]}' in said or layout == 'lxtGH'
    model = training(said_options(said))
    images, keep, hidden = torch.randn(2, 3, 64, 64), torch.tensor(KEEP), torch.tensor(HIDDEN)
    kept, rest = keep.expand(2, -1), hidden.expand(2, -1)
    mask = PatchMask(kept, torch.cat([keep, hidden]).argsort().expand(2, -1), rest)
    objective = model.objectives.cae
    with torch.no_grad():
        request = EncodeRequest(images, Outputs(patch_tokens=True), kept)
        final = model.backbone.encode_requests([request])[0].require_final()
        latents = objective.regressor(final, mask)
        found = objective.decoder(latents, objective.regressor.places((SIDE, SIDE), rest))
        visible = features_of_kept(weights, images)
        expected = decoded(beside, names, visible, dims)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    # The encoder is the published one, its channels in the order of the positions here.
    torch.testing.assert_close(final.patch_tokens, visible.roll(WIDTH // 2, -1))
    torch.testing.assert_close(model.backbone.pos_embed[0, 1:], sincos_positions((4, 4), WIDTH))
    for key, value in model.expert.backbone.state_dict().items():
        assert torch.equal(value, model.backbone.state_dict()[key])


def features_of_kept(weights, images):
    """Final tokens of the visible patches: the encoder sees nothing else.

    All patches of an image, taken out and put into the rows of a smaller image, with their own
    positions.
    """
    patches = images.unfold(2, 16, 16).unfold(3, 16, 16).flatten(2, 3)[:, :, KEEP]
    small = patches.unflatten(2, (2, 4)).permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 32, 64)
    table = weights['pos_embed'][:, [0, *(1 + k for k in KEEP)]]
    return features({**weights, 'pos_embed': table}, small)[:, 1:]


def test_the_file_is_an_encoder_too(tmp_path):
    weights, _ = write(tmp_path / 'cae.pth', 'lxtGH', WIDTH)
    cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'all.pth', HEADS, (64, 64), whole=True)
    encoder, meta = load_encoder(tmp_path / 'all.pth')
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = encoder.encode(images), features(weights, images)
    torch.testing.assert_close(found.image_token.roll(WIDTH // 2, -1), expected[:, 0])
    assert meta['feature'] == 'patch_mean'


def test_gains_of_one_are_none(tmp_path):
    write(tmp_path / 'cae.pth', 'lxtGH', WIDTH, decoder_layer_scale_init_value=0)
    said = cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'all.pth', HEADS, (64, 64), whole=True)
    options = said_options(str(said))
    assert options['model.objectives.cae.regressor.layer_scale'] == 0
    model = training(options)
    assert model.objectives.cae.regressor.blocks[0].gain1.weight is None


@pytest.mark.parametrize(
    ('lost', 'message'),
    [
        ('pretext_neck.regressor_blocks', '--whole needs the blocks of a regressor'),
        ('pretext_neck.decoder_blocks', r'and of a decoder .*CAE v2'),
        ('mask_token', 'has no mask token'),
        ('pretext_neck.norm2', r"not those of CAE's decoder: .*missing.*norm"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(lost, message, tmp_path):
    path, out = tmp_path / 'cae.pth', tmp_path / 'all.pth'
    write(path, 'lxtGH', WIDTH)
    content = torch.load(path, weights_only=False)
    content['model'] = {k: x for k, x in content['model'].items() if not k.startswith(lost)}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        cae_to_saip(path, out, HEADS, (64, 64), whole=True)
    assert not out.exists()


def test_a_bare_encoder_and_images_that_are_no_squares_are_refused(tmp_path):
    path, out = tmp_path / 'cae.pth', tmp_path / 'all.pth'
    torch.save({'model': published(SIDE)}, path)
    with pytest.raises(CheckpointError, match='--whole needs the blocks'):
        cae_to_saip(path, out, HEADS, (64, 64), whole=True)
    write(path, 'lxtGH', WIDTH)
    with pytest.raises(CheckpointError, match='for squares, not for images of 32x128'):
        cae_to_saip(path, out, HEADS, (32, 128), whole=True)
