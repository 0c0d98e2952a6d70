"""The encoder contract, for every file in configs/_base_/backbones/."""

import json
import math
import re
from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from torch.nn.modules.batchnorm import _BatchNorm

from saip.checkpoint import WeightsError
from saip.models.backbones import build_encoder
from saip.registry import MODELS
from saip.structures import EncodeRequest, Outputs
from tests.tiny import SMALL_FRAGMENTS

SIZES = [(256, 128), (128, 64), (192, 96), (320, 160), (224, 224), (384, 128), (256, 192)]
SIZES += [(333, 517), (517, 333)]
ALL = Outputs(image_token=True, patch_tokens=True, dense=True)
# Keys of an architecture that no tensor shape shows, or another model altogether.
OTHER = {
    'saip.ViTEncoder': lambda a: {**a, 'arch': {**a['arch'], 'num_heads': 6}},
    'saip.TimmEncoder': lambda a: {**a, 'model': 'resnet34'},
    'saip.PatchResNetEncoder': lambda a: {**a, 'depths': [1, 1, 3]},
    'saip.OpenMMLabEncoder': lambda a: {**a, 'model': {**a['model'], 'deepen_factor': 1.0}},
}


def build(path, **options):
    """The encoder of a fragment, initialized; skips if the library that has it is absent."""
    torch.manual_seed(0)
    try:
        encoder = MODELS.build(Config.fromfile(path).backbone | options)
    except ImportError as error:
        pytest.skip(str(error))
    encoder.init_weights()
    return encoder


@pytest.fixture(scope='module', params=SMALL_FRAGMENTS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope='module')
def encoder(path):
    """In eval mode, BatchNorm with the statistics of a batch instead of those of a new net."""
    built = build(path, out_type='image_token')
    norms = [module for module in built.modules() if isinstance(module, _BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        built.train().encode(torch.randn(8, 3, 128, 64))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return built.eval()


def encode(encoder, images, keep=None, outputs=ALL):
    return encoder.encode_requests([EncodeRequest(images, outputs, keep)])[0]


def tensors(features):
    """Everything that an encoder returned."""
    outputs = (features.final, features.dense)
    return [x for output in outputs for x in (output.image_token, output.patch_tokens)]


def test_fragment_states_what_it_is(path, encoder):
    cfg = Config.fromfile(path)
    plain = cfg.pop('equal_blocks', False)
    assert plain is (cfg.backbone.type == 'saip.ViTEncoder')
    assert set(cfg) == {'backbone', 'embed_dims', 'pyramid_channels', 'last_stride'}
    assert cfg.embed_dims == encoder.embed_dims
    assert cfg.last_stride == max(encoder.map_strides.values())
    comment = path.read_text().split('backbone =')[0].replace('\n# ', ' ')
    assert comment.startswith('# ')
    counts = [(float(x), len(x.split('.')[1])) for x in re.findall(r'(\d+\.\d+)M', comment)]
    parameters = sum(p.numel() for p in encoder.parameters())
    # The second number, where there is one, has a linear classifier of 1000 classes.
    with_classifier = parameters + 1000 * (encoder.embed_dims + 1)
    assert len(counts) in (1, 2), 'the comment states the parameters, such as 5.51M'
    for (count, digits), truth in zip(counts, (parameters, with_classifier), strict=False):
        assert count == round(truth / 1e6, digits)


@pytest.mark.parametrize('size', SIZES, ids='{0[0]}x{0[1]}'.format)
def test_any_size(encoder, size):
    grid = tuple(math.ceil(side / 16) for side in size)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        features = encode(encoder, images)
        maps = encoder.feature_maps(images, list(encoder.map_channels))
    assert all(x.isfinite().all() for x in [*tensors(features), *maps])
    final, pixel = features.final, features.dense
    assert final.image_token.shape == (1, encoder.embed_dims)
    assert final.patch_tokens.shape == (1, math.prod(final.grid), encoder.patch_dims)
    assert pixel.grid == grid
    assert pixel.image_token.shape == (1, encoder.dense_dims)
    assert pixel.patch_tokens.shape == (1, math.prod(grid), encoder.dense_dims)
    for x, (stage, channels) in zip(maps, encoder.map_channels.items(), strict=True):
        assert x.shape[:2] == (1, channels)
        stride = encoder.map_strides[stage]
        for cells, patches in zip(x.shape[2:], grid, strict=True):
            exact = patches * 16 / stride
            assert cells in (math.floor(exact), math.ceil(exact))
    # The last map is what encode returns as a sequence.
    assert final.grid == tuple(maps[-1].shape[2:])
    assert torch.equal(maps[-1].flatten(2).transpose(1, 2), final.patch_tokens)


def test_forward_is_what_other_libraries_call(path, encoder):
    images = torch.randn(2, 3, 128, 64)
    maps = build(path).eval()
    maps.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        expected = encoder.encode(images)
        (token,) = encoder(images)
        (last,) = maps(images)
    torch.testing.assert_close(token, expected.image_token)
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), expected.patch_tokens)
    stride = Config.fromfile(path).last_stride
    assert last.shape[2:] == (128 // stride, 64 // stride)


def test_strides_that_an_encoder_lacks_are_named(encoder):
    with pytest.raises(ValueError, match=r'no feature map at stride 128; it has .*16'):
        encoder.feature_maps(torch.zeros(1, 3, 64, 64), [16, 128])


def test_depth_of_every_layer(encoder):
    names = [name for name, _ in encoder.named_parameters()]
    depths = [encoder.get_layer_depth(name) for name in names]
    (layers,) = {count for _, count in depths}
    assert all(0 <= depth < layers for depth, _ in depths)
    assert min(depths)[0] == 0
    stem = next(i for i, name in enumerate(names) if '.weight' in name)
    assert depths[stem][0] == 0
    assert depths[-1][0] >= layers - 2 > 1
    below = [encoder.get_layer_depth(f'backbone.{name}', 'backbone.') for name in names]
    assert below == depths
    assert encoder.get_layer_depth('head.fc.weight', 'backbone.') == (layers - 1, layers)


@pytest.mark.parametrize('mode', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('size', [(128, 64), (83, 100)], ids=['whole', 'padded'])
def test_hidden_pixels_have_no_influence(encoder, mode, size):
    model = deepcopy(encoder).train(mode)
    height, width = (math.ceil(side / 16) for side in size)
    images = torch.randn(3, 3, *size)
    keep = torch.stack([torch.randperm(height * width)[:9] for _ in images])
    seen = torch.zeros(3, height * width).scatter_(1, keep, 1).view(3, 1, height, width)
    seen = seen.repeat_interleave(16, 2).repeat_interleave(16, 3)[..., : size[0], : size[1]] > 0
    noise = torch.where(seen, images, 50 * torch.randn_like(images))
    holes = images.masked_fill(~seen, float('nan'))
    with torch.no_grad():
        plain, noisy, empty = (
            tensors(encode(deepcopy(model), x, keep)) for x in (images, noise, holes)
        )
        # Not a factor or a summand, which BatchNorm may take away.
        others = tensors(encode(deepcopy(model), images.square(), keep))
    for a, b, c, other in zip(plain, noisy, empty, others, strict=True):
        assert a.isfinite().all()
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert not torch.allclose(a, other, atol=1e-3)


def test_only_kept_tokens_in_their_order(encoder):
    images = torch.randn(2, 3, 128, 64)
    keep = torch.stack([torch.randperm(32)[:8] for _ in images])
    shuffled = torch.randperm(8)
    with torch.no_grad():
        first = encode(encoder, images, keep)
        again = encode(encoder, images, keep[:, shuffled])
    for one, other in ((first.final, again.final), (first.dense, again.dense)):
        assert one.grid == (8, 4)
        assert one.patch_tokens.shape[:2] == (2, 8)
        torch.testing.assert_close(one.image_token, other.image_token)
        torch.testing.assert_close(one.patch_tokens[:, shuffled], other.patch_tokens)


def test_every_parameter_learns(encoder):
    model = deepcopy(encoder).train()
    features = encode(
        model, torch.randn(2, 3, 64, 64), outputs=Outputs(image_token=True, dense=True)
    )
    (features.final.image_token.square().sum() + features.dense.patch_tokens.sum()).backward()
    idle = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert idle == []


def test_pixel_features_from_the_end_leave_nothing_idle(encoder):
    model = deepcopy(encoder).train()
    model.read_dense_from_last_block()
    assert model.dense_is_final
    assert model.training
    pixel = encode(model, torch.randn(2, 3, 128, 64), outputs=Outputs(dense=True)).dense
    assert pixel.grid == (8, 4)
    assert pixel.patch_tokens.shape == (2, 32, model.dense_dims)
    pixel.patch_tokens.square().sum().backward()
    assert [
        n for n, p in model.named_parameters() if p.requires_grad != (p.grad is not None)
    ] == []


def test_maps_leave_nothing_idle(path):
    model = build(path).train()
    sum(x.square().sum() for x in model(torch.randn(2, 3, 64, 64))).backward()
    assert [
        n for n, p in model.named_parameters() if p.requires_grad != (p.grad is not None)
    ] == []


def test_a_copy_is_equal_and_its_own(encoder):
    images = torch.randn(2, 3, 64, 64)
    copy = deepcopy(encoder)
    with torch.no_grad():
        before = encoder.encode(images)
        assert torch.equal(copy.encode(images).image_token, before.image_token)
        for parameter in copy.parameters():
            parameter.zero_()
        assert torch.equal(encoder.encode(images).image_token, before.image_token)


def test_attention_map(encoder):
    with torch.no_grad():
        shares = encoder.attention_map(torch.randn(2, 3, 256, 128))
        grid = encoder.encode(torch.zeros(1, 3, 256, 128)).grid
    assert shares.shape[0] == 2
    assert shares.shape[2:] == grid
    assert shares.min() >= 0
    sums = shares.sum((2, 3))
    assert (sums > 0.05).all()
    assert (sums < 1 + 1e-5).all()


def test_architecture_builds_the_same_encoder(encoder):
    architecture = json.loads(json.dumps(encoder.architecture()))
    again = build_encoder(architecture).eval()
    assert again.architecture() == architecture
    assert list(again.state_dict()) == list(encoder.state_dict())
    again.load_state_dict(encoder.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        pairs = zip(
            tensors(encode(encoder, images)), tensors(encode(again, images)), strict=True
        )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_weights_arrive_or_it_stops(path, encoder, tmp_path):
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    architecture = encoder.architecture()
    file, wrong = str(tmp_path / 'backbone.pth'), str(tmp_path / 'other.pth')
    torch.save({'state_dict': state, 'meta': {'architecture': architecture}}, file)
    other = OTHER[architecture['type']](architecture)
    torch.save({'state_dict': state, 'meta': {'architecture': other}}, wrong)
    init_cfg = dict(type='Pretrained', checkpoint=file, prefix='backbone.')
    loaded = build(path, init_cfg=init_cfg)
    assert all(torch.equal(loaded.state_dict()[k[9:]], value) for k, value in state.items())
    for broken, message in (
        (dict(type='Pretrained', checkpoint=file), 'no prefix'),
        (init_cfg | dict(prefix='student.'), "no key begins with 'student.'"),
        (init_cfg | dict(checkpoint=wrong), 'another architecture'),
    ):
        with pytest.raises(WeightsError, match=message):
            build(path, init_cfg=broken)
