"""Counts against closed forms, published figures and whole steps."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from saip.analysis.cost_tables import SIZE, cost_tables, encoder_table
from saip.analysis.flops import TABLE_1, EncoderCost, count_flops, encoder_cost
from saip.analysis.step_flops import count_step, mean_weights, step_cost
from tests.test_analysis.test_objective_flops import official_step
from tests.tiny import PRESETS, ROOT, batch, build, progress, total
from tests.tools import call_tool

FRAGMENTS = ROOT / 'configs/_base_/backbones'
TOOL = ROOT / 'tools/analysis_tools/get_flops.py'
D, H, N, F, P = 48, 3, 4, 96, 16
VIT = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=D, num_layers=N, num_heads=H, feedforward_channels=F),
    patch_size=P,
    feature_level=None,
)


def test_a_vit_is_its_matrix_products():
    patches, tokens = 8 * 4, 8 * 4 + 1
    embedding = patches * D * 3 * P * P
    attention = tokens * D * 3 * D + 2 * tokens * tokens * D + tokens * D * D
    perceptron = 2 * tokens * D * F
    cost = encoder_cost(VIT, (128, 64))
    assert cost.flops == 2 * (embedding + N * (attention + perceptron))
    norms = (2 * N + 1) * 2 * D
    weights = D * (3 * D + D + 2 * F) + 3 * D + D + F + D
    embeddings = 3 * P * P * D + D + D + tokens * D
    assert cost.parameters == N * weights + norms + embeddings
    assert cost.with_classifier == cost.parameters + 1000 * D + 1000


def test_resnet18_at_224_is_as_published():
    """11.69M parameters with the classifier; 1.81 GMACs (He et al. state 1.8)."""
    cost = encoder_cost(dict(type='saip.TimmEncoder', model='resnet18'), (224, 224))
    assert cost.with_classifier == 11_689_512
    assert cost.flops / 2e9 == pytest.approx(1.814, abs=0.001)


@pytest.mark.parametrize('groups', [1, 4, 8])
@pytest.mark.parametrize('transposed', [False, True])
def test_gradients_of_a_convolution_cost_one_forward_pass_each(groups, transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(8, 16, 3, stride=2, padding=1, groups=groups)
    image = torch.randn(2, 8, 9, 7, requires_grad=True)
    cells = 9 * 7 if transposed else 5 * 4
    forward = 2 * 2 * cells * 9 * 8 * 16 // groups
    assert count_flops(lambda: layer(image)) == forward
    assert count_flops(lambda: layer(image).sum().backward()) == 3 * forward
    assert count_flops(lambda: layer(image.detach()).sum().backward()) == 2 * forward


@pytest.mark.parametrize(
    ('parameters', 'printed', 'found'),
    [
        (5_449_999, '5.4', 'without'),
        (5_450_001, '5.5', 'without'),
        (5_250_000 + 50_000, '5.6', 'with'),
        (11_400_000, '11', 'without'),
        (11_400_000, '12', 'with'),
        (11_100_000, '11', 'without and with'),
        (9_000_000, '5.5', 'neither'),
    ],
)
def test_a_printed_count_says_whether_it_has_the_classifier(parameters, printed, found):
    assert EncoderCost(parameters, parameters + 300_000, 0).matches(printed) == found


@pytest.mark.parametrize('preset', PRESETS)
def test_parts_add_up_to_a_step(preset):
    model = build(preset)
    model.begin_step(progress())
    views = model.data_preprocessor(batch(2), training=True)['inputs']
    parts = count_step(model, views)
    assert set(parts) == {'expert encoder', 'student encoder', *model.objectives}
    whole = count_flops(lambda: total(model.loss(views)).backward())
    assert sum(parts.values()) == whole
    assert parts['csr'] > parts['csm'] > 0


@pytest.mark.slow
def test_a_frozen_expert_is_counted_without_its_weights(monkeypatch):
    """The file that SAIP_EXPERT names need not exist to count."""
    monkeypatch.setenv('SAIP_EXPERT', 'no/such/expert.pth')
    (leaf,) = (ROOT / 'configs/pretrain/saip').glob('saip-star_vit-tiny*_lup1m.py')
    cost = step_cost(Config.fromfile(leaf).model.to_dict())
    # Anchor and augmented (128 patches each) and the scene (196) pass a ViT-B's 12 blocks of
    # 85M weights; the scene stops after the seventh.
    tokens = 2 * 129 + 197 * 7 / 12
    assert cost.flops['expert encoder'] == pytest.approx(2 * 85e6 * tokens, rel=0.1)


def test_gradients_of_a_counted_step_are_those_of_a_step():
    """The features are copied at the encoder's end; nothing may get lost there."""
    grads = []
    for counted in (False, True):
        model = build('saip')
        model.begin_step(progress())
        views = model.data_preprocessor(batch(2), training=True)['inputs']
        if counted:
            count_step(model, views)
        else:
            total(model.loss(views)).backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in grads[0].items():
        assert (grad is None) == (grads[1][name] is None), name
        if grad is not None:
            torch.testing.assert_close(grads[1][name], grad, atol=1e-5, rtol=1e-4)


def test_weighted_draws_give_the_mean_over_all_scales():
    scales = (6, 7, 9, 10)
    draws = [(*pair, k) for pair in itertools.permutations(scales, 2) for k in (6, 8, 12)]
    # Reconstruction at one of the first two views' scales, as in saip-paper.
    tied = [(a, b, c) for a, b in itertools.permutations(scales, 2) for c in (a, b)]
    for every in (draws, tied, [(4, 4, 10)]):
        cost = [sum((i + 2) * k**2 + 5 for i, k in enumerate(draw)) + 3 for draw in every]
        weights = mean_weights(every)
        assert len(weights) <= len({(i, k) for draw in every for i, k in enumerate(draw)})
        mean = sum(weight * cost[i] for i, weight in weights.items())
        assert mean == pytest.approx(sum(cost) / len(cost), rel=1e-9)
        assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.slow
def test_a_step_of_the_release_agrees_with_the_sizes_written_out():
    cfg = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/saip-official.py')
    cfg.model.backbone = dict(type='saip.ViTEncoder', **cfg.encoder_options)
    cost = step_cost(cfg.model)
    written_out = sum(official_step(k) for k in (6, 7, 9, 10)) / 4
    assert sum(cost.flops.values()) == pytest.approx(written_out, rel=1e-3)
    assert cost.parameters['student encoder'] == 5_511_360
    assert cost.parameters['expert encoder'] == 0


def test_table_in_the_readme_is_what_the_tool_prints():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    section = text[text.index('\n## Encoders') :]
    section = section[: section.index('\n## ', 1)]
    stated = re.findall(r'^\|.*\|$', section, re.M)
    names = [row.split('|')[1].strip() for row in stated[2:]]
    finer = {path.stem for path in FRAGMENTS.glob('*-os16.py')}
    assert set(names) == set(TABLE_1) | finer
    backbones = {name: Config.fromfile(FRAGMENTS / f'{name}.py').backbone for name in names}
    for row, printed in zip(stated, encoder_table(backbones, SIZE).splitlines(), strict=True):
        if 'none can be imported' not in printed:  # the library of this encoder is missing
            assert row == printed


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return call_tool(monkeypatch, 'analysis_tools/get_flops.py', *arguments)


def test_tool_counts_the_named_fragments_at_a_size(monkeypatch, capsys):
    path = FRAGMENTS / 'resnet18.py'
    assert call(monkeypatch, path, '--size', '64', '32') == 0
    out = capsys.readouterr().out
    assert 'GFLOPs (64x32)' in out
    assert '| resnet18 | 11.18M | 11.69M | 11M | without head |' in out
    assert 'a multiply-add as two' in out


def test_an_encoder_whose_library_is_missing_does_not_hide_the_others(monkeypatch):
    for name in ('mmdet.models', 'mmpose.models'):
        monkeypatch.setitem(sys.modules, name, None)
    table = cost_tables([FRAGMENTS / 'cspnext-s.py', FRAGMENTS / 'resnet18.py'])
    missing, found = table.splitlines()[2:4]
    assert 'mmdet' in missing
    assert '11.18M' in found


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('configs/_base_/default_runtime.py', [], 'neither a backbone fragment'),
        ('configs/_base_/backbones/none.py', [], 'No such file'),
        (
            'configs/pretrain/saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py',
            ['--size', '64', '64'],
            'leave --size out',
        ),
        ('configs/_base_/backbones/vit-tiny-p16.py', ['--size', '100', '50'], '100, 50'),
    ],
)
def test_tool_errors_are_one_line(name, arguments, message, monkeypatch, capsys):
    assert call(monkeypatch, Path(ROOT / name), *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1
