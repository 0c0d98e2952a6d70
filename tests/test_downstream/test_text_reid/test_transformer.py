"""The text transformer against open_clip's text tower, and its weights."""

import pytest
import torch

from saip.checkpoint import WeightsError, write_checkpoint
from saip.downstream.text_reid import CLIPTextTransformer
from saip.downstream.text_reid.clip_weights import from_clip
from saip.errors import InputError

theirs = pytest.importorskip('open_clip.model')

SMALL = dict(width=48, layers=3, heads=4, context=20, vocab_size=600, dims=32)


def open_clip_tower(activation: str = 'quick_gelu', **options: int) -> torch.nn.Module:
    """open_clip's text tower with random weights everywhere."""
    options = {**SMALL, **options}
    cfg = theirs.CLIPTextCfg(
        context_length=options['context'],
        vocab_size=options['vocab_size'],
        width=options['width'],
        heads=options['heads'],
        layers=options['layers'],
    )
    tower = theirs._build_text_tower(
        options['dims'], cfg, quick_gelu=activation == 'quick_gelu'
    )
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return tower.eval()


def random_ids(options: dict[str, int], captions: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Captions of different lengths; the end has the largest id."""
    generator = torch.Generator().manual_seed(1)
    context, end = options['context'], options['vocab_size'] - 1
    ids = torch.randint(1, end - 2, (captions, context), generator=generator)
    lengths = torch.randint(3, context + 1, (captions,), generator=generator)
    lengths[0] = context
    for row, length in zip(ids, lengths, strict=True):
        row[0], row[length - 1], row[length:] = end - 1, end, 0
    return ids, lengths


@pytest.mark.parametrize('activation', ['quick_gelu', 'gelu'])
def test_features_are_those_of_open_clip(activation):
    tower = open_clip_tower(activation)
    weights, _ = from_clip(tower.state_dict(), activation, heads=4)
    ours = CLIPTextTransformer(**SMALL, activation=activation).eval()
    ours.load_state_dict(weights, strict=True)
    ids, lengths = random_ids(SMALL)
    with torch.no_grad():
        expected = tower(ids)
        found = ours(ids)[torch.arange(len(ids)), lengths - 1]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    other = CLIPTextTransformer(
        **SMALL, activation={'gelu': 'quick_gelu'}.get(activation, 'gelu')
    )
    other.load_state_dict(weights)
    assert (other(ids)[0, -1] - expected[0]).abs().max() > 1e-3


@pytest.mark.slow
def test_features_of_real_size_are_those_of_open_clip():
    size = dict(width=512, layers=12, heads=8, context=77, vocab_size=49408, dims=512)
    tower = open_clip_tower(**size)
    weights, architecture = from_clip(tower.state_dict(), 'quick_gelu')
    ours = CLIPTextTransformer()
    assert architecture == ours.architecture()
    ours.load_state_dict(weights, strict=True)
    ids, lengths = random_ids(size, 2)
    with torch.no_grad():
        found = ours.eval()(ids)[torch.arange(2), lengths - 1]
        expected = tower(ids)
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-5, rtol=0)


def test_what_comes_later_changes_nothing():
    text = CLIPTextTransformer(**SMALL).eval()
    ids, _ = random_ids(SMALL, 1)
    changed = ids.clone()
    changed[0, 9:] = 7
    one, other = text(ids), text(changed)
    assert torch.equal(one[0, :9], other[0, :9])
    assert not torch.allclose(one[0, 9], other[0, 9])


def test_initial_weights_are_those_of_clip():
    width, layers = 256, 6
    text = CLIPTextTransformer(width, layers, 4, 77, 3000, 128)
    into_sum = width**-0.5 * (2 * layers) ** -0.5
    block = text.blocks[2]
    deviations = {
        text.token_embedding.weight: 0.02,
        text.positional_embedding: 0.01,
        text.projection.weight: width**-0.5,
        block.qkv.weight: width**-0.5,
        block.proj.weight: into_sum,
        block.fc1.weight: (2 * width) ** -0.5,
        block.fc2.weight: into_sum,
    }
    for weight, deviation in deviations.items():
        assert weight.std().item() == pytest.approx(deviation, rel=0.03)
    biases = [p for name, p in text.named_parameters() if name.endswith('bias')]
    assert not any(bias.any() for bias in biases)
    assert text.projection.bias is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(activation='relu'), "activation='relu': choose 'quick_gelu' or 'gelu'"),
        (dict(heads=5), 'width=48 is no multiple of its 5 heads'),
        (dict(context=2), 'context=2: start, one id and end need 3'),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        CLIPTextTransformer(**{**SMALL, **options})


def saved(path, changes=None, **options) -> str:
    """A converted file of a small transformer, with changes of its tensors."""
    text = CLIPTextTransformer(**{**SMALL, **options})
    tensors = {f'text.{key}': value for key, value in text.state_dict().items()}
    tensors = {
        key: value for key, value in {**tensors, **(changes or {})}.items() if value is not None
    }
    write_checkpoint(path, tensors, {'architecture': text.architecture()})
    return str(path)


def load(path: str) -> CLIPTextTransformer:
    text = CLIPTextTransformer(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=path))
    text.init_weights()
    return text


def test_converted_weights_are_all_loaded(tmp_path):
    torch.manual_seed(5)
    path = saved(tmp_path / 'text.safetensors')
    torch.manual_seed(5)
    expected = CLIPTextTransformer(**SMALL).state_dict()
    torch.manual_seed(6)
    for name, value in load(path).state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        (
            {'text.norm.bias': None},
            {},
            'are missing: norm.bias.*Nothing was loaded.*SAIP_TEXT_INIT',
        ),
        ({'text.head.weight': torch.zeros(2)}, {}, '1 keys match nothing: head.weight'),
        ({'text.norm.bias': torch.zeros(7)}, {}, r'norm.bias \(7,\) instead of \(48,\)'),
        ({'text.norm.bias': torch.full((48,), torch.nan)}, {}, 'not finite: norm.bias'),
        (
            {},
            dict(heads=3),
            'another text transformer: heads is 3 in the file and 4 in the model',
        ),
        ({}, dict(activation='gelu'), 'activation is gelu in the file and quick_gelu in the'),
        ({}, dict(vocab_size=700), 'vocab_size is 700 in the file'),
    ],
)
def test_other_weights_are_refused(tmp_path, changes, options, message):
    path = saved(tmp_path / 'text.pth', changes, **options)
    with pytest.raises(WeightsError, match=message):
        load(path)


def test_other_files_are_refused(tmp_path):
    write_checkpoint(tmp_path / 'encoder.pth', {'backbone.norm': torch.zeros(2)}, {})
    with pytest.raises(
        WeightsError, match=r"no key begins with 'text\.'; SAIP_TEXT_INIT .*clip_text"
    ):
        load(str(tmp_path / 'encoder.pth'))
    (tmp_path / 'damaged.pth').write_bytes(b'nothing')
    with pytest.raises(WeightsError, match=r'not a checkpoint at all.*clip_text_to_saip'):
        load(str(tmp_path / 'damaged.pth'))
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / 'none.pth'))
