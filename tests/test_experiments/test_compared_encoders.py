"""From the command line of tools/eval_frozen.py to a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from saip.checkpoint import export_backbone
from saip.experiments.compared_encoders import find_compared_encoders, open_images, random_twin
from saip.experiments.frozen_eval import evaluate_frozen
from saip.models.backbones import build_encoder
from saip.models.selfsup.predicting import FEATURES
from saip.registry import MODELS
from tests.tools import call_tool

TOOL = Path(__file__).parents[2] / 'tools' / 'eval_frozen.py'
BACKBONE = {
    'type': 'saip.ViTEncoder',
    'arch': {'embed_dims': 48, 'num_layers': 2, 'num_heads': 3, 'feedforward_channels': 96},
    'img_size': (64, 32),
    'patch_size': 16,
    'feature_level': 0,
}
PREPROCESSOR = {
    'type': 'saip.ViewsPreprocessor',
    'size': (64, 32),
    'patch_size': 16,
    'views': {'anchor': {'type': 'Crop', 'area': (0.5, 1.0)}},
    'mean': [120.0, 110.0, 100.0],
    'std': [60.0, 60.0, 60.0],
}
CONFIG = {
    'model': {'type': 'saip.SAIP', 'backbone': BACKBONE, 'data_preprocessor': PREPROCESSOR}
}


def make_checkpoint(with_config=True, model=CONFIG['model']):
    """Make a training checkpoint whose student and expert differ."""
    state = {}
    for seed, prefix in enumerate(['backbone.', 'expert.backbone.']):
        encoder = random_twin(build_encoder(model['backbone']), seed)
        state.update({f'{prefix}{key}': value for key, value in encoder.state_dict().items()})
    meta = {'cfg': Config({'model': model}).pretty_text} if with_config else {}
    return {'state_dict': state, 'meta': meta}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('weights')
    checkpoint = make_checkpoint()
    torch.save(checkpoint, folder / 'epoch_1.pth')
    torch.save(make_checkpoint(with_config=False), folder / 'bare.pth')
    (folder / 'config.py').write_text(Config(CONFIG).pretty_text)
    (folder / 'broken.pth').write_bytes((folder / 'epoch_1.pth').read_bytes()[:1000])
    exported = export_backbone(checkpoint, folder, which='expert', formats=('safetensors',))
    exported.rename(folder / 'expert.safetensors')
    return folder


def write_image(path, seed, size=(80, 36)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 2, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size[::-1]).save(path)


@pytest.fixture(scope='module')
def market(tmp_path_factory):
    """Write three persons, each with one look under two cameras."""
    root = tmp_path_factory.mktemp('market')
    for pid in (1, 2, 3):
        write_image(root / 'bounding_box_train' / f'{pid + 10:04d}_c1s1_000000_00.jpg', pid)
        write_image(root / 'query' / f'{pid:04d}_c1s1_000001_00.jpg', pid)
        write_image(root / 'bounding_box_test' / f'{pid:04d}_c2s1_000002_00.jpg', pid)
    return root


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp('crops')
    for seed in range(20):
        write_image(root / f'{seed}.jpg', seed)
    return root


def run_tool(monkeypatch, capsys, *arguments):
    status = call_tool(monkeypatch, 'eval_frozen.py', *arguments, '--workers', 0)
    return status, capsys.readouterr()


BASELINE_ROWS = ['random weights', 'color histogram', 'coarse pixels']


@pytest.mark.parametrize(
    ('source', 'rows'),
    [
        ('epoch_1.pth', ['student', 'expert', *BASELINE_ROWS]),
        ('expert.safetensors', ['expert', *BASELINE_ROWS]),
        ('random', BASELINE_ROWS),
        ('histogram', ['color histogram']),
        ('pixels', ['coarse pixels']),
    ],
)
def test_rows(files, source, rows):
    path = str(files / source) if '.' in source else source

    assert list(find_compared_encoders(path).encoders) == rows


@pytest.mark.parametrize('moved', [0.0, 1.0])
def test_an_expert_that_equals_the_student_is_evaluated_once(
    moved, market, tmp_path, monkeypatch, capsys
):
    checkpoint = make_checkpoint()
    state = checkpoint['state_dict']
    for key in [key for key in state if key.startswith('backbone.')]:
        state[f'expert.{key}'] = state[key].clone()
    state['expert.backbone.cls_token'] += moved
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    arguments = (tmp_path / 'epoch_1.pth', market, '--json', tmp_path / 'out.json')
    status, output = run_tool(monkeypatch, capsys, *arguments)
    assert status == 0, output.err
    rows = list(json.loads((tmp_path / 'out.json').read_text())['rows'])
    assert rows == ['student', *(['expert'] if moved else []), *BASELINE_ROWS]
    assert ('expert: has the weights of student' in output.out) is not bool(moved)


def test_weights_are_those_of_the_checkpoint(files):
    state = make_checkpoint()['state_dict']
    compared = find_compared_encoders(str(files / 'epoch_1.pth'))

    for branch, prefix in [('student', 'backbone.'), ('expert', 'expert.backbone.')]:
        for key, value in compared.encoders[branch].state_dict().items():
            torch.testing.assert_close(value, state[prefix + key])
    assert compared.size == (64, 32)
    assert compared.preprocessor.mean.flatten().tolist() == [120, 110, 100]


def test_exported_file_keeps_its_statistics(files):
    compared = find_compared_encoders(str(files / 'expert.safetensors'))

    assert compared.preprocessor.mean.flatten().tolist() == [120, 110, 100]
    assert compared.encoders['color histogram'].std.flatten().tolist() == [60, 60, 60]


def test_config_for_a_checkpoint_without_one(files):
    compared = find_compared_encoders(str(files / 'bare.pth'), str(files / 'config.py'))

    assert list(compared.encoders) == ['student', 'expert', *BASELINE_ROWS]


def test_random_twin_is_reproducible_and_leaves_the_generator_alone():
    encoder = build_encoder(BACKBONE)
    before = torch.random.get_rng_state()

    first, second = random_twin(encoder), random_twin(encoder)

    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(first.state_dict(), second.state_dict())
    assert not torch.equal(first.pos_embed, encoder.pos_embed)


def test_untrained_batch_norm_normalizes_by_the_images():
    """Never measured statistics would give every image nearly the same features."""
    encoder = MODELS.build(dict(type='saip.TimmEncoder', model='starnet_s1'))
    images = torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(0))

    twin = random_twin(encoder).eval()
    plain = random_twin(encoder)
    for module in plain.modules():  # the same weights, statistics of these images
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        mine = twin.encode(images).require_image_token()
        expected = plain.encode(images).require_image_token()

    torch.testing.assert_close(mine, expected)
    assert mine.std(0).mean() > 0.1


def test_tool_on_a_labeled_set(monkeypatch, capsys, files, market, tmp_path):
    out = tmp_path / 'new' / 'result.json'
    code, said = run_tool(monkeypatch, capsys, files / 'epoch_1.pth', market, '--json', out)

    assert code == 0
    assert '3 queries (0 without a match left out), 6 images' in said.out
    result = json.loads(out.read_text())
    # Each person looks the same to both cameras, so that even colors find it.
    assert result['rows']['color histogram']['mAP'] == 100
    assert list(result['rows']) == ['student', 'expert', *BASELINE_ROWS]
    assert [path.name for path in out.parent.iterdir()] == ['result.json']


@pytest.mark.parametrize(('options', 'images'), [([], 20), (['--holdout', '0.25'], 5)])
def test_tool_on_unlabeled_images(monkeypatch, capsys, files, crops, options, images):
    code, said = run_tool(monkeypatch, capsys, files / 'expert.safetensors', crops, *options)

    assert code == 0
    assert f'{images} images, chance {100 / images:.2f}' in said.out


@pytest.fixture(scope='module')
def told(tmp_path_factory):
    """Write a training that is evaluated by its patches, with a semantic controller."""
    folder = tmp_path_factory.mktemp('told')
    model = {**CONFIG['model'], 'backbone': {**BACKBONE, 'controller': {'condition': 0.3}}}
    checkpoint = make_checkpoint(model={**model, 'feature': 'patch_mean'})
    torch.save(checkpoint, folder / 'epoch_1.pth')
    path = export_backbone(checkpoint, folder, formats=('pth',), condition=0.9)
    path.rename(folder / 'exported.pth')
    return folder


@pytest.mark.parametrize(
    ('file', 'options', 'feature', 'condition'),
    [
        ('epoch_1.pth', [], 'patch_mean', 0.3),
        ('epoch_1.pth', ['--condition', 0.6], 'patch_mean', 0.6),
        ('epoch_1.pth', ['--feature', 'image_token'], 'image_token', 0.3),
        ('exported.pth', [], 'patch_mean', 0.9),
    ],
)
def test_feature_and_condition_are_those_of_the_training_and_named(
    monkeypatch, capsys, told, crops, tmp_path, file, options, feature, condition
):
    out = tmp_path / 'result.json'
    code, said = run_tool(monkeypatch, capsys, told / file, crops, *options, '--json', out)

    assert code == 0, said.err
    assert said.out.splitlines()[0].endswith(f'; feature {feature}, λ = {condition}')
    record = json.loads(out.read_text())
    assert (record['feature'], record['condition']) == (feature, condition)
    compared = find_compared_encoders(str(told / file), condition=condition)
    images = open_images(crops, compared.size)
    alone = {'student': compared.encoders['student']}
    settings = {'num_workers': 0, 'progress': False}
    by_hand = {
        name: evaluate_frozen(alone, images, compared.preprocessor, feature=name, **settings)
        for name in FEATURES
    }
    other = next(name for name in FEATURES if name != feature)
    cosine = record['rows']['student']['mean_cosine']
    assert cosine == pytest.approx(by_hand[feature]['rows']['student']['mean_cosine'], abs=1e-5)
    assert abs(cosine - by_hand[other]['rows']['student']['mean_cosine']) > 1e-3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['random', '--condition', '.3'], '--condition 0.3: λ goes with a checkpoint'),
        (['epoch_1.pth', '--condition', '1.5'], 'epoch_1.pth: condition (--condition): λ is a'),
        (
            ['epoch_1.pth', '--condition', '.5'],
            'epoch_1.pth: condition=0.5 (--condition): this',
        ),
        (['epoch_1.pth', '--holdout', '.1'], '--holdout 0.1: '),
        (['epoch_1.pth', '--holdout', '1.5'], '--holdout 1.5: a share below 1 or a number of'),
        (['epoch_1.pth', '--holdout', '-1'], '--holdout -1: a share below 1 or a number of'),
        (['epoch_1.pth', '--holdout', 'nan'], '--holdout nan: a share below 1 or a number of'),
        (['epoch_1.pth', '--holdout', 'inf'], '--holdout inf: a share below 1 or a number of'),
        (['pixels', '--feature', 'patch_mean'], '--feature patch_mean: pixels is no network'),
    ],
)
def test_options_without_an_effect_are_refused(
    monkeypatch, capsys, files, market, arguments, message
):
    source, *options = arguments
    source = files / source if '.' in source else source

    code, said = run_tool(monkeypatch, capsys, source, market, *options)

    assert code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ('checkpoint', 'data', 'message'),
    [
        ('missing.pth', 'crops', 'missing.pth: no such checkpoint file'),
        ('broken.pth', 'crops', 'broken.pth: truncated, damaged'),
        ('bare.pth', 'crops', 'bare.pth: its meta says nothing about the encoder'),
        ('epoch_1.pth', 'nowhere', 'nowhere: no such folder'),
        ('epoch_1.pth', 'half', 'has query/ but no bounding_box_test/'),
        ('epoch_1.pth', 'text', 'no image'),
    ],
)
def test_bad_input_is_one_line(
    monkeypatch, capsys, files, crops, tmp_path, checkpoint, data, message
):
    (tmp_path / 'half' / 'query').mkdir(parents=True)
    (tmp_path / 'text').mkdir()
    (tmp_path / 'text' / 'notes.txt').write_text('no image')
    folder = crops if data == 'crops' else tmp_path / data

    code, said = run_tool(monkeypatch, capsys, files / checkpoint, folder)

    assert code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith('eval_frozen.py: error: ')


def test_images_are_opened_at_the_right_size(market, crops):
    assert open_images(market, (64, 32))[0]['image'].shape == (3, 64, 32)
    assert open_images(crops, (64, 32))[0]['canvas'].shape == (3, 80, 40)
