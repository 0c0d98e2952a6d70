"""Every encoder through torch.export, which deployment begins with."""

import pytest
import torch
from mmengine.config import Config

from saip.registry import MODELS
from tests.tiny import SMALL_FRAGMENTS

SIZE = (256, 128)


def cases():
    """Strict tracing of a large network takes long; plain tracing and the smallest do not."""
    for path in SMALL_FRAGMENTS:
        for strict in (False, True):
            slow = strict and path.stem not in ('resnet18', 'vit-4blocks-p16')
            marks = [pytest.mark.slow] if slow else []
            name = f'{path.stem}-{"strict" if strict else "plain"}'
            yield pytest.param(path, strict, marks=marks, id=name)


@pytest.mark.sampled(3)
@pytest.mark.parametrize('out_type', ['featmap', 'image_token'])
@pytest.mark.parametrize(('path', 'strict'), cases())
def test_an_exported_encoder_computes_the_same_for_any_batch(path, strict, out_type):
    torch.manual_seed(0)
    fragment = Config.fromfile(path).backbone
    encoder = MODELS.build(dict(**fragment, img_size=SIZE, out_type=out_type)).eval()
    free = ({0: torch.export.Dim('batch')},)
    images = torch.randn(2, 3, *SIZE)
    program = torch.export.export(encoder, (images,), dynamic_shapes=free, strict=strict)
    for count in (1, 2, 5):
        images = torch.randn(count, 3, *SIZE)
        with torch.no_grad():
            expected = encoder(images)
            found = program.module()(images)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('rate', [0.0, 0.1])
def test_stochastic_depth_is_no_obstacle_to_strict_export(rate):
    encoder = MODELS.build(
        dict(
            type='saip.ViTEncoder',
            arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32),
            img_size=(32, 32),
            feature_level=0,
            drop_path_rate=rate,
        )
    ).eval()
    images = torch.randn(2, 3, 48, 32)  # on another grid than the position embeddings'
    program = torch.export.export(encoder, (images,), strict=True)
    torch.testing.assert_close(program.module()(images), encoder(images))
