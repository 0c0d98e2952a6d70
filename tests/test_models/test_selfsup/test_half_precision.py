"""A step in bfloat16 on a CPU against the same in float64."""

from dataclasses import replace

import pytest
import torch

from saip.models.backbones import ViTEncoder
from saip.structures import EncodeRequest, Outputs, Progress, Views
from tests.tiny import batch, build, total


def gradients(model, views, half):
    """Gradients by name."""
    model.zero_grad()
    model.begin_step(Progress.at(1, 10, 10))
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        terms = model(views, mode='loss')
    total(terms).backward()
    return {name: p.grad.double() for name, p in model.named_parameters() if p.requires_grad}


def test_gradients_differ_by_rounding_alone():
    """Of every single parameter: a norm's gain and bias, whose gradients are long sums, as well."""
    model = build('saip')
    model.begin_step(Progress.at(1, 10, 10))
    views = model.data_preprocessor(batch(8), training=True)['inputs']
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = gradients(model, views, half=True)
    model.load_state_dict(state)  # without the teacher's new center
    wide = {name: replace(v, images=v.images.double()) for name, v in views.by_name.items()}
    targets = {name: value.double() for name, value in views.targets.items()}
    expected = gradients(model.double(), Views(wide, targets), half=False)
    assert found.keys() == expected.keys()
    errors = {
        name: float((found[name] - value).norm() / value.norm())
        for name, value in expected.items()
    }
    assert {name: error for name, error in errors.items() if not error < 0.05} == {}


@pytest.mark.parametrize('options', [{}, {'layer_scale': 0.1, 'drop_path_rate': 0.2}])
def test_blocks_pass_tokens_on_in_half_precision(options):
    torch.manual_seed(0)
    arch = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96)
    encoder = ViTEncoder(arch=arch, feature_level=1, **options)
    encoder.init_weights()
    request = EncodeRequest(
        torch.randn(4, 3, 256, 128), Outputs(image_token=True, dense=True, patch_tokens=True)
    )
    with torch.autocast('cpu', torch.bfloat16):
        (features,) = encoder.train().encode_requests([request])
    assert features.require_dense().require_patch_tokens().dtype == torch.bfloat16
    assert features.require_final().require_image_token().dtype == torch.float32
    (wide,) = encoder.encode_requests([request])
    assert wide.require_dense().require_patch_tokens().dtype == torch.float32
