"""Encoders under torch's own ways to record a network: equal features."""

import pytest
import torch
from torch import nn

import saip

from .small import ENCODERS, FRAGMENTS, SIZE, fragment_file


class Encode(nn.Module):
    """``encode`` as a module's call."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, images):
        output = self.encoder.encode(images)
        return output.image_token, output.patch_tokens


def exported(network, images, strict):
    free = ({0: torch.export.Dim('batch', max=64)},)
    return torch.export.export(network, (images,), dynamic_shapes=free, strict=strict).module()


WAYS = {
    'export': lambda network, images: exported(network, images, False),
    'export strict': lambda network, images: exported(network, images, True),
    'trace': lambda network, images: torch.jit.trace(network, (images,)),
    'compile eager': lambda network, images: torch.compile(network, backend='eager'),
    'compile aot_eager': lambda network, images: torch.compile(network, backend='aot_eager'),
}


def check(way, checkpoint, size):
    """Features of batches of two sizes, recorded on one of them."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    network = Encode(saip.load_encoder(checkpoint)).requires_grad_(False)
    recorded = WAYS[way](network, torch.randn(2, 3, *size))
    for rows in (2, 5):
        images = torch.randn(rows, 3, *size)
        for found, wanted in zip(recorded(images), network(images), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


ignore = pytest.mark.filterwarnings('ignore')  # torch.jit.trace says that it is deprecated


@pytest.mark.sampled(2)
@ignore
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('name', ENCODERS)
def test_features_are_those_of_the_encoder(name, way, checkpoints):
    check(way, checkpoints[name], SIZE)


@ignore
@pytest.mark.slow
@pytest.mark.parametrize('name', FRAGMENTS)
def test_features_of_every_encoder(name, tmp_path):
    checkpoint = fragment_file(name, tmp_path, (128, 64))
    for way in WAYS:
        check(way, checkpoint, (128, 64))
