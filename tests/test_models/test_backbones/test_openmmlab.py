"""Backbones of other OpenMMLab libraries as encoders, against the backbones themselves."""

import sys

import pytest
import torch
from mmengine.config import Config

from saip.models.backbones import OpenMMLabEncoder
from saip.registry import MODELS
from tests.tiny import ROOT

FRAGMENT = ROOT / 'configs/_base_/backbones/cspnext-s.py'
TINY = dict(type='CSPNeXt', widen_factor=0.125, deepen_factor=0.17, out_indices=(1, 2, 3, 4))


@pytest.fixture(params=['mmdet', 'mmpose'])
def library(request):
    pytest.importorskip(f'{request.param}.models')
    return request.param


def test_features_are_those_of_the_library(library):
    models = sys.modules[f'{library}.models']
    cfg = Config.fromfile(FRAGMENT).backbone | dict(libraries=[library], out_type='image_token')
    encoder = MODELS.build(cfg).eval()
    options = dict(cfg.model)
    del options['type']
    stock = (models.CSPNeXt if library == 'mmdet' else models.backbones.CSPNeXt)(**options)
    below = {k.removeprefix('mm_model.'): v for k, v in encoder.state_dict().items()}
    stock.load_state_dict(below, strict=True)
    stock.eval()
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        maps = encoder.feature_maps(images, (4, 8, 16, 32))
        expected = stock(images)
        output = encoder.encode(images)
    # The encoder computes with the channels last in memory, which rounds otherwise.
    torch.testing.assert_close(tuple(maps), tuple(expected), rtol=1e-4, atol=1e-4)
    token = expected[-1].mean((2, 3))
    torch.testing.assert_close(output.image_token, token, rtol=1e-4, atol=1e-4)


def test_random_weights_are_those_of_the_library(library):
    encoder = OpenMMLabEncoder(TINY, libraries=[library])
    encoder.init_weights()
    # Kaiming-uniform with a = sqrt(5): bounded by 1 / sqrt(fan in).
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 4:
            bound = parameter[0].numel() ** -0.5
            assert 0.5 * bound < parameter.abs().max() <= bound, name


def test_layers_are_the_stages(library):
    encoder = OpenMMLabEncoder(TINY, libraries=[library])
    assert encoder.get_layer_depth('mm_model.stem.0.conv.weight') == (0, 6)
    assert encoder.get_layer_depth('mm_model.stage4.0.conv.weight') == (4, 6)


def test_the_first_library_that_works_is_taken(library, monkeypatch):
    monkeypatch.setitem(sys.modules, 'absent', None)
    encoder = OpenMMLabEncoder(TINY, libraries=['absent', library])
    assert type(encoder.mm_model).__module__.startswith(library)


def test_without_any_library_the_error_names_them(monkeypatch):
    for name in ('mmdet', 'mmpose', 'mmdet.models', 'mmpose.models'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match='CSPNeXt needs one of mmdet, mmpose, and none can be'
    ):
        MODELS.build(Config.fromfile(FRAGMENT).backbone)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(model=TINY | dict(out_indices=(2, 3, 4))), 'maps at the strides 8, 16, 32 but'),
        (
            dict(model=TINY, strides=(4, 8, 16)),
            r'strides 4, 8, 16, 32 but strides=\(4, 8, 16\)',
        ),
        (
            dict(model=TINY, drop_path_rate=0.1),
            'CSPNeXt has no stochastic depth: set drop_path',
        ),
        (
            dict(model=TINY | dict(out_indices=(1, 2, 4)), strides=(4, 8, 32)),
            'needs a stage of stride 16; the strides of CSPNeXt are 4, 8, 32',
        ),
    ],
)
def test_what_it_cannot_do_is_refused(library, options, message):
    with pytest.raises(ValueError, match=message):
        OpenMMLabEncoder(libraries=[library], **options)
