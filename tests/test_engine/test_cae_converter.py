"""Published CAE checkpoints: both layouts, against a restatement of CAE's encoder."""

from argparse import Namespace

import pytest
import torch
import torch.nn.functional as F

from saip.checkpoint import CheckpointError, load_encoder
from saip.engine.converters.cae import GAINS, cae_to_saip
from saip.models.backbones import ViTEncoder

WIDTH, DEPTH, HEADS = 48, 2, 3


def published(side: int = 4) -> dict[str, torch.Tensor]:
    """Tensors of an encoder by the names of CAE's code."""
    torch.manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape) * 0.2

    found = {
        'cls_token': noise(1, 1, WIDTH),
        'pos_embed': noise(1, side * side + 1, WIDTH),
        'patch_embed.proj.weight': noise(WIDTH, 3, 16, 16),
        'patch_embed.proj.bias': noise(WIDTH),
        'norm.weight': 1 + noise(WIDTH),
        'norm.bias': noise(WIDTH),
    }
    for i in range(DEPTH):
        block = f'blocks.{i}.'
        for name in ('norm1', 'norm2'):
            found |= {
                f'{block}{name}.weight': 1 + noise(WIDTH),
                f'{block}{name}.bias': noise(WIDTH),
            }
        found |= {
            f'{block}gamma_1': 0.1 + noise(WIDTH),
            f'{block}gamma_2': 0.1 + noise(WIDTH),
            f'{block}attn.qkv.weight': noise(3 * WIDTH, WIDTH),
            f'{block}attn.q_bias': noise(WIDTH),
            f'{block}attn.v_bias': noise(WIDTH),
            f'{block}attn.proj.weight': noise(WIDTH, WIDTH),
            f'{block}attn.proj.bias': noise(WIDTH),
            f'{block}mlp.fc1.weight': noise(4 * WIDTH, WIDTH),
            f'{block}mlp.fc1.bias': noise(4 * WIDTH),
            f'{block}mlp.fc2.weight': noise(WIDTH, 4 * WIDTH),
            f'{block}mlp.fc2.bias': noise(WIDTH),
        }
    return found


def features(w, images):
    """Final tokens by the formulas of CAE's encoder, the image token first."""
    x = F.conv2d(images, w['patch_embed.proj.weight'], w['patch_embed.proj.bias'], stride=16)
    x = torch.cat([w['cls_token'].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
    x = x + w['pos_embed']

    def norm(x, name):
        return F.layer_norm(x, (WIDTH,), w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)

    def linear(x, name):
        return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

    for i in range(DEPTH):
        block = f'blocks.{i}.'
        q, k, v = (norm(x, f'{block}norm1') @ w[f'{block}attn.qkv.weight'].T).chunk(3, -1)
        q, v = q + w[f'{block}attn.q_bias'], v + w[f'{block}attn.v_bias']
        out = []
        for a, b, c in zip(*(y.chunk(HEADS, -1) for y in (q, k, v)), strict=True):
            scores = a / (WIDTH // HEADS) ** 0.5 @ b.transpose(1, 2)
            out.append(scores.softmax(-1) @ c)
        x = x + w[f'{block}gamma_1'] * linear(torch.cat(out, -1), f'{block}attn.proj')
        hidden = F.gelu(linear(norm(x, f'{block}norm2'), f'{block}mlp.fc1'))
        x = x + w[f'{block}gamma_2'] * linear(hidden, f'{block}mlp.fc2')
    return norm(x, 'norm')


BESIDE = {
    'lxtGH': ('teacher.cls_token', 'pretext_neck.norm.weight', 'mask_token'),
    'Atten4Vis': (
        'alignment_encoder.cls_token',
        'regressor_and_decoder.norm.weight',
        'encoder_to_regresser.weight',
    ),
}


def write(path, weights, layout, **args):
    state = {f'encoder.{key}': x for key, x in weights.items()}
    state |= {key: torch.zeros(3) for key in BESIDE[layout]}
    if layout == 'Atten4Vis':  # saved from a distributed model
        state = {f'module.{key}': x for key, x in state.items()}
    content = {
        'model': state,
        'optimizer': {'state': {}},
        'epoch': 799,
        'scaler': {'scale': 1.0},
    }
    torch.save(content | {'args': Namespace(**args)}, path)


@pytest.mark.parametrize('layout', BESIDE)
def test_features_are_those_of_caes_encoder(layout, tmp_path):
    weights = published()
    write(tmp_path / 'cae.pth', weights, layout, imagenet_default_mean_and_std=False)
    said = str(
        cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'out.pth', HEADS, img_size=(64, 64))
    )
    for name in BESIDE[layout]:
        assert name in said
    encoder, meta = load_encoder(tmp_path / 'out.pth')
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = encoder.encode(images), features(weights, images)
    torch.testing.assert_close(found.image_token, expected[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.patch_tokens, expected[:, 1:], atol=1e-5, rtol=1e-5)
    assert meta['statistics']['mean'] == [127.5] * 3
    assert (meta['feature'], meta['epoch']) == ('patch_mean', 799)


def test_a_file_without_positions_gets_those_of_caes_formula(tmp_path):
    weights = published()
    del weights['pos_embed']
    write(tmp_path / 'cae.pth', weights, 'lxtGH', imagenet_default_mean_and_std=True)
    cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'out.pth', HEADS, img_size=(64, 64))
    encoder, meta = load_encoder(tmp_path / 'out.pth')
    assert meta['statistics']['mean'] == [123.675, 116.28, 103.53]
    for row in range(4):
        for column in range(4):
            waves = []
            for place in (row, column):  # on squares the release's first half is of the row
                angles = torch.tensor([place / 10000 ** (i / 12) for i in range(12)])
                waves += [angles.sin(), angles.cos()]
            found = encoder.pos_embed[0, 1 + 4 * row + column]
            torch.testing.assert_close(found, torch.cat(waves), atol=1e-5, rtol=0)


def test_an_encoder_without_layer_scale_takes_the_weights_with_it_folded(tmp_path):
    weights = published()
    write(tmp_path / 'cae.pth', weights, 'lxtGH')
    said = str(cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'out.pth', HEADS, (64, 64)))
    assert 'statistics of ImageNet are recorded' in said
    arch = dict(
        embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=4 * WIDTH
    )
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'out.pth'), prefix='backbone.')
    plain = ViTEncoder(arch=arch, img_size=(64, 64), feature_level=None, init_cfg=init)
    plain.init_weights()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = plain.eval().encode(images), features(weights, images)
    torch.testing.assert_close(found.patch_tokens, expected[:, 1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ('said', 'expected'), [({}, 1e-5), ({'layer_scale_init_value': 0.1}, 0.1)]
)
def test_a_file_that_does_not_say_its_layer_scale_has_that_of_its_width(
    said, expected, tmp_path, monkeypatch
):
    """CAE-large has 1e-5: what SAIP_LAYER_SCALE says in its fine-tunings has to be the same."""
    assert GAINS[1024] == 1e-5
    monkeypatch.setitem(GAINS, WIDTH, GAINS[1024])
    write(tmp_path / 'cae.pth', published(), 'lxtGH', **said)
    cae_to_saip(tmp_path / 'cae.pth', tmp_path / 'out.pth', HEADS, (64, 64))
    _, meta = load_encoder(tmp_path / 'out.pth')
    assert meta['architecture']['layer_scale'] == expected


class Trap:
    def __reduce__(self):
        return exec, ('raise SystemExit("run")',)


def test_what_is_no_published_checkpoint_is_refused(tmp_path):
    path, out = tmp_path / 'cae.pth', tmp_path / 'out.pth'
    with pytest.raises(FileNotFoundError, match=r'cae\.pth'):
        cae_to_saip(path, out)
    torch.save({'model': {'encoder.cls_token': torch.zeros(1)}, 'args': Trap()}, path)
    with pytest.raises(CheckpointError, match=r'refused, .* would run .*exec'):
        cae_to_saip(path, out)
    torch.save({'model': {'encoder.other': torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r'no encoder of CAE: unknown names other'):
        cae_to_saip(path, out)
    weights = published()
    write(path, weights, 'lxtGH')
    with pytest.raises(CheckpointError, match=r'no model of width 48, .*--num-heads'):
        cae_to_saip(path, out)
    weights['blocks.0.attn.relative_position_bias_table'] = torch.zeros(1)
    write(path, weights, 'lxtGH')
    with pytest.raises(CheckpointError, match=r'has relative position bias \(blocks\.0\.attn'):
        cae_to_saip(path, out, HEADS)
    assert not out.exists()
