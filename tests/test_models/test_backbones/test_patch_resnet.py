"""The residual network behind a patch embedding."""

import pytest
import torch
import torch.nn.functional as F

from saip.engine.cpu_bfloat16 import overlapping_strides
from saip.errors import InputError
from saip.models.backbones import PatchResNetEncoder


def written_out(weights, images, depths):
    """Maps at the strides 4, 8, 16 in eval mode, from the weights by their names."""

    def layer(x, name, **options):
        x = F.conv2d(x, weights[f'{name}.0.weight'], **options)
        return norm(x, f'{name}.1')

    def norm(x, name):
        values = (weights[f'{name}.{key}'] for key in ('running_mean', 'running_var'))
        mean, var = (v[:, None, None] for v in values)
        gain, shift = (weights[f'{name}.{key}'][:, None, None] for key in ('weight', 'bias'))
        return (x - mean) / (var + 1e-5).sqrt() * gain + shift

    x = layer(images, 'resnet.stem', stride=4).relu()
    maps = []
    for stage, depth in enumerate(depths):
        if stage:
            x = F.avg_pool2d(x, 2)
        for block in range(depth):
            name = f'resnet.stages.{stage}.{block + (stage > 0)}'
            inner = layer(x, f'{name}.residual', padding=1).relu()
            inner = F.conv2d(inner, weights[f'{name}.residual.3.weight'], padding=1)
            if f'{name}.shortcut.0.weight' in weights:
                x = layer(x, f'{name}.shortcut')
            x = (x + norm(inner, f'{name}.residual.4')).relu()
        if stage == 2:
            last = f'resnet.stages.2.{depth + 1}'
            x = F.conv2d(x, weights[f'{last}.weight'])
            x = norm(x, f'resnet.stages.2.{depth + 2}').relu()
        maps.append(x)
    return maps


def test_equals_the_network_written_out():
    torch.manual_seed(0)
    encoder = PatchResNetEncoder((4, 6, 8), (1, 2, 2), 12).double()
    for value in (*encoder.parameters(), *encoder.buffers()):
        if value.is_floating_point():
            torch.nn.init.uniform_(value, 0.2, 1.0)
            value.data *= 1 - 2 * (torch.rand_like(value) < 0.3) if value.ndim == 4 else 1
    encoder.eval()
    images = torch.randn(2, 3, 64, 48, dtype=torch.float64)
    expected = written_out(encoder.state_dict(), images, (1, 2, 2))
    for found, wanted in zip(encoder.feature_maps(images, (4, 8, 16)), expected, strict=True):
        assert float(wanted.std()) > 0
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    token = encoder.encode(images).image_token
    stripes = F.adaptive_max_pool2d(expected[-1], (4, 1)).squeeze(-1)
    torch.testing.assert_close(token, stripes.transpose(1, 2).flatten(1))


@pytest.mark.parametrize('rows', [1, 2, 3, 5, 6, 11])
def test_stripes_of_any_height(rows):
    last = torch.randn(2, 256, rows, 3)
    expected = F.adaptive_max_pool2d(last, (4, 1)).squeeze(-1).transpose(1, 2).flatten(1)
    assert torch.equal(PatchResNetEncoder()._pool(last), expected)


def test_attention_is_what_each_cell_gives():
    torch.manual_seed(0)
    encoder = PatchResNetEncoder((4, 6, 8), (1, 1, 1), 5).eval()
    encoder.requires_grad_(False)
    images = torch.randn(2, 3, 96, 48)  # 6 x 3 cells; stripes of two rows, which overlap
    found = encoder.attention_map(images)
    last = encoder.feature_maps(images, [16])[0]
    expected = torch.zeros_like(found)
    for image, maps in enumerate(last):
        for channel in maps:
            for first, end in ((0, 2), (1, 3), (3, 5), (4, 6)):
                row, column = max(
                    ((r, c) for r in range(first, end) for c in range(3)),
                    key=lambda cell: float(channel[cell]),
                )
                expected[image, 0, row, column] += channel[row, column] ** 2
    assert (expected > 0).any()
    torch.testing.assert_close(found, expected / expected.sum((1, 2, 3), keepdim=True))


def test_begins_as_its_shortcuts():
    encoder = PatchResNetEncoder()
    for stage in encoder.resnet.stages:
        for block in stage:
            if hasattr(block, 'residual'):
                x = torch.randn(2, block.residual[0].in_channels, 4, 4)
                torch.testing.assert_close(block(x), block.shortcut(x).relu())


def test_stochastic_depth_grows_to_the_last_block():
    encoder = PatchResNetEncoder(drop_path_rate=0.3)
    blocks = [b for stage in encoder.resnet.stages for b in stage if hasattr(b, 'residual')]
    rates = [getattr(block.drop_path, 'drop_prob', 0.0) for block in blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_cpu_may_compute_it_in_bfloat16():
    assert list(overlapping_strides(PatchResNetEncoder())) == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(channels=(32, 64)), r'channels=\(32, 64\): three positive numbers'),
        (dict(depths=(1, 0, 2)), r'depths=\(1, 0, 2\): three positive numbers'),
        (dict(controller={}), 'no stages whose norms'),
        (dict(embed_dims=2), 'has no option embed_dims'),
        (dict(out_strides=(32,)), 'no feature map at stride 32; it has 4, 8, 16'),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        PatchResNetEncoder(**options)
