"""LayerScale in the ViT: against mmpretrain's own forward, and what it begins with."""

import pytest
import torch

from saip.checkpoint.layer_scale import fold_layer_scale, has_layer_scale
from saip.errors import InputError
from saip.models.backbones import ViTEncoder, build_encoder
from tests.tiny import ARCH


def build(gain):
    torch.manual_seed(0)
    encoder = ViTEncoder(
        arch=ARCH, img_size=(64, 32), feature_level=None, layer_scale=gain, out_type='raw'
    )
    encoder.init_weights()
    return encoder.double().eval()


def test_tokens_are_those_of_the_stock_forward():
    encoder = build(0.1)
    for parameter in encoder.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        found, (stock,) = encoder.encode(images), encoder(images)
    torch.testing.assert_close(found.patch_tokens, stock[:, 1:], atol=1e-10, rtol=0)
    torch.testing.assert_close(found.image_token, stock[:, 0], atol=1e-10, rtol=0)
    plain = build(0.0)
    plain.load_state_dict(fold_layer_scale(encoder.state_dict()), strict=True)
    with torch.no_grad():
        folded = plain.encode(images)
    torch.testing.assert_close(folded.patch_tokens, found.patch_tokens, atol=1e-10, rtol=0)


def test_gains_begin_as_asked_and_are_rebuilt():
    encoder = build(1e-5)
    gains = [x for name, x in encoder.state_dict().items() if 'gamma' in name]
    assert len(gains) == 2 * 4
    assert all(torch.all(x == torch.tensor(1e-5).double()) for x in gains)
    again = build_encoder(encoder.architecture())
    assert again.state_dict().keys() == encoder.state_dict().keys()
    plain = build(0.0)
    assert not has_layer_scale(plain.state_dict())
    assert 'layer_scale' not in plain.architecture()


@pytest.mark.parametrize('value', [-0.1, True, 'small'])
def test_a_gain_that_is_no_number_from_0_on_is_refused(value):
    with pytest.raises(InputError, match='layer_scale='):
        ViTEncoder(arch=ARCH, feature_level=2, layer_scale=value)
