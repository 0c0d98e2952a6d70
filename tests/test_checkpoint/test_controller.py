"""Training checkpoints with a controller: λ is fixed when they are read, exported or loaded."""

import pytest
import torch

from saip.checkpoint import (
    CheckpointError,
    encoder_of,
    export_backbone,
    load_checkpoint_file,
    load_encoder,
    load_pretrained,
    write_checkpoint,
)
from saip.checkpoint.strict import WeightsError
from saip.errors import InputError
from saip.experiments.compared_encoders import find_compared_encoders
from saip.models.backbones import OpenMMLabEncoder, ViTEncoder
from saip.structures import EncodeRequest, Outputs
from tests.test_checkpoint.checkpoint_files import SIZE
from tests.test_models.test_backbones.test_controller import SWIN

FOUR = {'embed_dims': 16, 'num_layers': 4, 'num_heads': 2, 'feedforward_channels': 32}


def perturbed(encoder):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return encoder.eval()


def vit(controller=None):
    return perturbed(ViTEncoder(FOUR, SIZE, feature_level=2, controller=controller))


def write(path, student, expert):
    state = {f'backbone.{key}': value for key, value in student.state_dict().items()}
    state |= {f'expert.backbone.{key}': value for key, value in expert.state_dict().items()}
    write_checkpoint(path, state, {'architecture': student.architecture(), 'epoch': 3})
    return path


@pytest.fixture(scope='module')
def pair():
    student, expert = vit({'condition': 0.6}), vit({'condition': 0.6})
    with torch.no_grad():
        expert.controller.scales[0].weight.add_(0.5)
    return {'student': student, 'expert': expert}


@pytest.fixture(scope='module')
def training(pair, tmp_path_factory):
    path = tmp_path_factory.mktemp('training') / 'epoch_3.pth'
    return write(path, pair['student'], pair['expert'])


def images():
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def token(encoder, condition=None):
    told = None if condition is None else torch.full((2,), condition)
    request = EncodeRequest(images(), Outputs(image_token=True), None, told)
    with torch.no_grad():
        return encoder.encode_requests([request])[0].final.image_token


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize('which', ['student', 'expert'])
@pytest.mark.parametrize('condition', [None, 0.0, 1.0])
def test_a_checkpoint_is_read_as_a_stock_encoder(training, pair, which, condition):
    encoder, meta = load_encoder(training, which, condition)
    chosen = 0.6 if condition is None else condition
    assert meta['condition'] == chosen
    assert not encoder.has_controller
    assert 'controller' not in meta['architecture']
    assert encoder.state_dict().keys() == vit().state_dict().keys()
    assert_same(token(encoder), token(pair[which], chosen))
    assert (token(encoder) - token(pair[which], 1 - chosen)).abs().max() > 1e-3


def test_an_exported_file_is_stock_and_says_its_condition(training, pair, tmp_path):
    path = export_backbone(load_checkpoint_file(training), tmp_path, condition=0.9)
    other = export_backbone(load_checkpoint_file(training), tmp_path)
    assert path.name != other.name  # the digest is that of other tensors
    for file in (path, path.with_suffix('.safetensors')):
        encoder, meta = load_encoder(file)
        assert meta['condition'] == 0.9
        assert_same(token(encoder), token(pair['student'], 0.9))
        assert load_encoder(file, condition=0.9)[1]['condition'] == 0.9
        with pytest.raises(CheckpointError, match=r'exported at 0.9, for good; export'):
            load_encoder(file, condition=0.2)
    plain = ViTEncoder(FOUR, SIZE, feature_level=2)
    load_pretrained(plain, {'checkpoint': str(path), 'prefix': 'backbone.'})
    assert_same(token(plain.eval()), token(pair['student'], 0.9))


@pytest.mark.parametrize('condition', [None, 0.1])
def test_a_stock_encoder_loads_a_training_checkpoint_folded(training, pair, condition):
    plain = ViTEncoder(FOUR, SIZE, feature_level=2)
    init = {'checkpoint': str(training), 'prefix': 'backbone.'}
    load_pretrained(plain, init if condition is None else {**init, 'condition': condition})
    assert_same(token(plain.eval()), token(pair['student'], condition or 0.6))


def test_loading_stays_strict(training, tmp_path):
    told = ViTEncoder(FOUR, SIZE, feature_level=2, controller={})
    load_pretrained(told, {'checkpoint': str(training), 'prefix': 'backbone.'})
    stock = write(tmp_path / 'stock.pth', vit(), vit())
    with pytest.raises(WeightsError, match='12 tensors of the model are missing: controller'):
        load_pretrained(told, {'checkpoint': str(stock), 'prefix': 'backbone.'})
    with pytest.raises(InputError, match=r'condition .*: λ is a number from 0 to 1, not 7'):
        load_encoder(training, condition=7)
    with pytest.raises(
        CheckpointError, match=r'condition=0.2 .*: .* trained without a controller'
    ):
        load_encoder(stock, condition=0.2)
    assert 'condition' not in load_encoder(stock)[1]


@pytest.mark.parametrize('has_meta', [True, False])
def test_a_controller_of_another_depth_is_refused_in_words(tmp_path, has_meta):
    """Where it acts depends on the depth, so its norms are not where the encoder has them."""
    told = ViTEncoder(FOUR, (128, 64), feature_level=2, controller={})
    file = write(tmp_path / 'epoch_3.pth', told, told)
    message = 'another architecture: arch.num_layers is 4 in the file and 12'
    if not has_meta:
        write_checkpoint(file, load_checkpoint_file(file)['state_dict'], {'epoch': 3})
        message = r'epoch_3.pth: \d+ tensors of the model are missing: layers\.4\.'
    deep = ViTEncoder({**FOUR, 'num_layers': 12}, (128, 64), feature_level=2)
    with pytest.raises(WeightsError, match=message):
        load_pretrained(deep, {'checkpoint': str(file), 'prefix': 'backbone.'})


def test_frozen_features_are_those_of_the_chosen_condition(training, pair):
    compared = find_compared_encoders(str(training), condition=0.3)
    assert_same(token(compared.encoders['student']), token(pair['student'], 0.3))
    assert_same(token(compared.encoders['expert']), token(pair['expert'], 0.3))
    assert compared.about['condition'] == 0.3


def test_a_swin_keeps_the_releases_controller_at_the_chosen_condition(tmp_path):
    """Its projections have no bias to absorb a shift."""
    cfg = {key: value for key, value in SWIN.items() if key != 'type'}
    swin = perturbed(OpenMMLabEncoder(**cfg, img_size=SIZE, controller={'condition': 0.2}))
    names = [name for stage in swin.stages for name in stage.norms]
    assert names == [f'mm_model.stages.{i}.downsample.reduction' for i in range(3)]
    path = export_backbone(
        load_checkpoint_file(write(tmp_path / 'epoch_3.pth', swin, swin)),
        tmp_path,
        condition=0.8,
    )
    encoder, meta = load_encoder(path)
    assert meta['condition'] == 0.8
    assert meta['architecture']['controller'] == {'condition': 0.8}
    assert_same(token(encoder), token(swin, 0.8))
    assert_same(
        token(encoder_of(load_checkpoint_file(path), 'student', 0.1)[0]), token(swin, 0.1)
    )
