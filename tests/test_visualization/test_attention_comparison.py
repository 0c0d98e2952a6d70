"""Several encoders beside each other: what is drawn and the numbers behind it."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import erf
from torch import nn

from saip.models.backbones import TimmEncoder, ViTEncoder
from saip.visualization.attention import overlay
from saip.visualization.attention_comparison import (
    ATTENTION,
    SIMILARITY,
    Column,
    Row,
    Subject,
    attention_map,
    compare_attention,
    make_columns,
    share_inside,
)
from saip.visualization.attention_sheet import draw_comparison, format_record, record
from saip.visualization.known_people import draw_crowds, draw_persons
from tests.tools import call_tool

IMAGENET = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375]}
STATISTICS = {'mean': [120.0, 110.0, 100.0], 'std': [50.0, 60.0, 70.0]}
ARCH = {'embed_dims': 16, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 32}


def vit(seed: int, size=(64, 32), heads: int = 2) -> ViTEncoder:
    """Its weights are far from their beginning, so that attention is uneven."""
    torch.manual_seed(seed)
    arch = {**ARCH, 'num_heads': heads}
    encoder = ViTEncoder(arch=arch, img_size=size, feature_level=None)
    encoder.init_weights()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def resnet() -> TimmEncoder:
    torch.manual_seed(3)
    return TimmEncoder('test_resnet', img_size=(64, 32))


class Fixed(nn.Module):
    """Gives the same map for every image."""

    img_size = (64, 32)
    has_relations = True

    def __init__(self, found: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.map_channels = {16: 8}
        self.found = found

    def attention_map(self, images):
        return self.found[None, None].expand(len(images), 2, -1, -1)


def noise(size=(64, 32), seed=0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))


def layer_norm(x: np.ndarray, weights, name: str) -> np.ndarray:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    normed = (x - mean) / np.sqrt(variance + 1e-6)
    return normed * weights[f'{name}.weight'] + weights[f'{name}.bias']


def linear(x: np.ndarray, weights, name: str) -> np.ndarray:
    return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']


def plain_attention(state, image: Image.Image, size, statistics, heads: int = 2) -> np.ndarray:
    """(h, w) attention of the image token in the last block, by the formulas of ViT.

    From stored weights alone, one head after the other in double precision; the mean over the
    heads, divided by its own mean.
    """
    weights = {key: value.double().numpy() for key, value in state.items()}
    pixels = np.asarray(image.convert('RGB').resize(size[::-1], Image.Resampling.BICUBIC))
    pixels = (pixels - np.array(statistics['mean'])) / np.array(statistics['std'])
    rows, columns = (side // 16 for side in size)
    kernel = weights['patch_embed.projection.weight']  # (D, 3, 16, 16)
    tokens = [weights['cls_token'][0, 0]]
    for row in range(rows):
        for column in range(columns):
            patch = pixels[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            tokens.append(np.einsum('yxc,dcyx->d', patch, kernel))
            tokens[-1] += weights['patch_embed.projection.bias']
    x = np.array(tokens) + weights['pos_embed'][0]
    for block in range(ARCH['num_layers']):
        name = f'layers.{block}'
        queries, keys, values = np.split(
            linear(layer_norm(x, weights, f'{name}.ln1'), weights, f'{name}.attn.qkv'), 3, -1
        )
        maps, out = [], []
        parts = (np.split(each, heads, -1) for each in (queries, keys, values))
        for q, k, v in zip(*parts, strict=True):
            scores = np.exp(q @ k.T / math.sqrt(q.shape[-1]))
            maps.append(scores / scores.sum(-1, keepdims=True))
            out.append(maps[-1] @ v)
        x = x + linear(np.concatenate(out, -1), weights, f'{name}.attn.proj')
        hidden = linear(
            layer_norm(x, weights, f'{name}.ln2'), weights, f'{name}.ffn.layers.0.0'
        )
        gelu = hidden * (1 + erf(hidden / math.sqrt(2))) / 2
        x = x + linear(gelu, weights, f'{name}.ffn.layers.1')
    found = np.mean(maps, 0)[0, 1:].reshape(rows, columns)
    return found / found.mean()


def share_by_pixels(weights, mask, size) -> float:
    """Every pixel of the input has the weight of its cell."""
    cell = size[0] // weights.shape[0], size[1] // weights.shape[1]
    spread = np.kron(np.asarray(weights, dtype=np.float64), np.ones(cell))
    return spread[mask].sum() / spread.sum()


@pytest.mark.parametrize('grid', [(4, 2), (2, 1), (8, 8), (1, 1)])
def test_share_of_a_map_on_a_mask(grid):
    rng = np.random.default_rng(sum(grid))
    size = (64, 32)
    for part in (0.1, 0.5):
        weights = rng.random(grid) ** 3
        mask = rng.random(size) < part
        mask[10:40, 3:9] = True
        found = share_inside(torch.from_numpy(weights).float(), mask, size)
        assert found == pytest.approx(share_by_pixels(weights, mask, size), abs=1e-5)


def test_share_of_special_maps_and_masks():
    size, mask = (64, 32), np.zeros((64, 32), bool)
    mask[:16, :8] = True  # half of the first cell
    first = torch.zeros(4, 2)
    first[0, 0] = 1
    assert share_inside(first, mask, size) == pytest.approx(0.5)
    assert share_inside(torch.zeros(4, 2), mask, size) == pytest.approx(1 / 16)
    # A mask of another size than the encoder's input covers the same part of the image.
    large = np.kron(mask, np.ones((3, 5))) > 0
    assert share_inside(first, large, size) == pytest.approx(0.5)


@pytest.mark.parametrize('size', [(64, 32), (48, 48), (32, 96)])
@pytest.mark.parametrize('heads', [1, 2, 4])
def test_attention_of_a_vit_restated(size, heads):
    """Through the stored weights, in double precision, with no line of the encoder."""
    encoder, image = vit(heads, size, heads), noise((70, 50), heads)
    expected = plain_attention(encoder.state_dict(), image, size, STATISTICS, heads)
    assert expected.max() > 1.5  # of an even map nothing could be told
    found = attention_map(Row('vit', encoder, STATISTICS), image, size).numpy()
    np.testing.assert_allclose(found, expected, rtol=3e-5)


def test_patches_are_compared_with_their_mean():
    row = Row('star', resnet().eval(), STATISTICS)
    image = noise((96, 64))
    found = attention_map(row, image, (96, 64)).numpy()
    pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)
    mean, std = (np.reshape(STATISTICS[k], (3, 1, 1)) for k in ('mean', 'std'))
    images = torch.from_numpy((pixels - mean) / std).float()[None]
    with torch.no_grad():
        (maps,) = row.encoder.feature_maps(images, [max(row.encoder.map_channels)])
    tokens = maps[0].flatten(1).T.numpy().astype(np.float64)
    center = tokens.mean(0)
    alike = [max(t @ center / np.linalg.norm(t) / np.linalg.norm(center), 0) for t in tokens]
    expected = np.reshape(alike, maps.shape[-2:]) / np.mean(alike)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_rows_say_what_they_show():
    assert (Row('a', vit(0), STATISTICS).map_name, Row('b', resnet(), STATISTICS).map_name) == (
        ATTENTION,
        SIMILARITY,
    )


def test_all_rows_see_the_same_sizes_in_whole_cells():
    rows = [Row('vit', vit(0), STATISTICS), Row('resnet', resnet(), STATISTICS)]
    coarse = max(rows[1].encoder.map_channels)
    crowd = noise((50, 90))
    columns = make_columns(
        rows, [('a', [Subject(noise())])], [('many', [Subject(crowd)])], (1.0, 1.6)
    )
    assert [c.title for c in columns] == ['a', 'a', 'many']
    assert all(side % coarse == 0 for column in columns for side in column.size)
    assert columns[0].size == (64, 32)
    assert columns[2].size == (64, round(64 * 90 / 50 / coarse) * coarse)
    compared = compare_attention(rows, columns)
    for row, cell in zip(compared.maps, (16, coarse), strict=True):
        for weights, column in zip(row, columns, strict=True):
            assert weights.shape == (column.size[0] // cell, column.size[1] // cell)
            assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
    assert compared.shares == [[None] * 3] * 2
    assert compared.areas == [None] * 3


def test_rows_share_the_brightness_of_a_column():
    """The same value is the same color in both rows, though one has a much higher peak."""
    even = torch.ones(4, 2)
    low, high = even.clone(), even.clone()
    low[1, 1], high[1, 1] = 3.0, 60.0
    rows = [Row('low', Fixed(low), STATISTICS), Row('high', Fixed(high), STATISTICS)]
    columns = [Column('one', (64, 32), [Subject(Image.new('RGB', (64, 32), '#808080'))])]
    compared = compare_attention(rows, columns)
    pooled = sorted(float(x) for row in compared.maps for x in row[0].flatten())
    assert pooled[-2] < compared.brightest(0) <= pooled[-1]
    image = columns[0].subjects[0].image
    flat = overlay(image, torch.ones(4, 2), brightest=compared.brightest(0))
    alone = overlay(image, torch.ones(4, 2))
    assert np.asarray(flat).sum() < np.asarray(alone).sum()
    even_map = [Row('even', Fixed(even), STATISTICS)]
    assert compare_attention(even_map, columns).brightest(0) == 2.0


def test_record_and_figure():
    mask = np.zeros((64, 32), bool)
    mask[32:] = True
    lower = torch.tensor([[0.0, 0], [0, 0], [3, 1], [2, 2]])
    rows = [
        Row('lower', Fixed(lower), STATISTICS, {'which': 'student', 'checkpoint': 'a.pth'}),
        Row('upper', Fixed(lower.flip(0)), STATISTICS, {'which': 'expert'}),
    ]
    people = [Subject(noise(seed=i), mask) for i in range(3)]
    columns = [Column('people', (64, 32), people), Column('none', (64, 32), [Subject(noise())])]
    compared = compare_attention(rows, columns)
    assert compared.areas == [pytest.approx(0.5), None]
    assert [row[0] for row in compared.shares] == pytest.approx([1, 0])
    found = json.loads(json.dumps(record(rows, columns, compared)))
    assert [row['share_inside'] for row in found['rows']] == [[1, None], [0, None]]
    assert found['columns'][0]['images'] == 3
    lines = format_record(found).splitlines()[2:]
    assert lines[2].split('|')[4].strip() == '50.0'
    assert [cell.strip() for cell in lines[3].split('|')[1:-1]] == [
        *('lower', 'student', ATTENTION, '100.0', '')
    ]
    assert len({line.count('|') for line in lines}) == 1
    one, two = (
        draw_comparison(rows[:n], columns, compare_attention(rows[:n], columns)) for n in (1, 2)
    )
    assert two.height > one.height


def test_masks_of_synthetic_people():
    (person, other), (crowd,) = draw_persons(2, (96, 48)), draw_crowds(1, (96, 120))
    for subject in (person, other, crowd):
        assert subject.mask.shape == subject.image.size[::-1]
        assert 0.05 < subject.mask.mean() < 0.7
    assert person.image.tobytes() != other.image.tobytes()
    assert draw_persons(1, (96, 48))[0].image.tobytes() == person.image.tobytes()
    # A person stands in the middle: the mask is there and not at the rim.
    assert person.mask[:, 16:32].mean() > 3 * person.mask[:, [0, -1]].mean()


@pytest.fixture
def files(tmp_path):
    for name, encoder in (('a', vit(0)), ('b', vit(1)), ('c', resnet())):
        state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        meta = {'architecture': encoder.architecture()}
        (tmp_path / name).mkdir()
        torch.save({'state_dict': state, 'meta': meta}, tmp_path / name / 'epoch_1.pth')
    noise((70, 40)).save(tmp_path / 'person.png')
    noise((60, 100), 1).save(tmp_path / 'crowd.png')
    mask = np.zeros((70, 40), np.uint8)
    mask[20:50, 10:30] = 1
    Image.fromarray(mask).save(tmp_path / 'person-mask.png')
    crowd = Image.fromarray(np.eye(60, 100, dtype=np.uint8) * 7)
    crowd.putpalette([0] * 768)  # part maps often have a palette; its colors say nothing
    crowd.save(tmp_path / 'crowd-mask.png')
    Image.new('L', (40, 70)).save(tmp_path / 'empty.png')
    return tmp_path


def test_the_tool_with_several_checkpoints(files, monkeypatch, capsys):
    a, b, c = (files / name / 'epoch_1.pth' for name in 'abc')
    out = files / 'out' / 'compared.png'
    masks = files / 'person-mask.png', files / 'crowd-mask.png'
    arguments = [f'SAIP={a}', files / 'person.png', '--crowd', files / 'crowd.png']
    arguments += ['--against', b, c, '--masks', *masks, '--scales', 1, 2, '--out', out]
    assert call_tool(monkeypatch, 'visualization/draw_attention.py', *arguments) == 0
    found = json.loads(out.with_suffix('.json').read_text())
    assert [row['name'] for row in found['rows']] == ['SAIP', 'b/epoch_1', 'c/epoch_1']
    assert {row['which'] for row in found['rows']} == {'student'}
    assert [c['title'] for c in found['columns']] == ['person.png', 'person.png', 'crowd.png']
    assert out.with_suffix('.md').read_text() in capsys.readouterr().out
    # By hand: the image at the size of the column, attention from the file's weights, every pixel.
    size = tuple(found['columns'][0]['size'])
    assert size == (64, 32)
    state = torch.load(a)['state_dict']
    state = {key.removeprefix('backbone.'): value for key, value in state.items()}
    weights = plain_attention(state, Image.open(files / 'person.png'), size, IMAGENET)
    mask = Image.fromarray((np.asarray(Image.open(masks[0])) > 0).astype(np.float32))
    cover = np.asarray(mask.resize(size[::-1], Image.Resampling.BOX), dtype=np.float64)
    spread = np.kron(weights, np.ones((16, 16)))
    expected = (spread * cover).sum() / spread.sum()
    assert abs(expected - cover.mean()) > 0.02  # what an even map would give
    assert found['rows'][0]['share_inside'][0] == pytest.approx(expected, rel=1e-5)
    assert Image.open(out).height > 4 * 100


def test_the_tool_with_synthetic_people(files, monkeypatch):
    a, b = (files / name / 'epoch_1.pth' for name in 'ab')
    out = files / 'synthetic.png'
    arguments = [f'one={a}', '--against', f'two={b}', '--synthetic', 2, '--out', out]
    assert call_tool(monkeypatch, 'visualization/draw_attention.py', *arguments) == 0
    found = json.loads(out.with_suffix('.json').read_text())
    assert [column['images'] for column in found['columns']] == [2, 2, 2]
    shares = [share for row in found['rows'] for share in row['share_inside']]
    assert len(shares) == 6
    assert all(0 < share < 1 for share in shares)
    areas = [column['mask_area'] for column in found['columns']]
    assert areas[0] == pytest.approx(areas[1], abs=0.02)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--against', 'B'], 'one of them is needed'),
        (['person.png', '--synthetic'], '--synthetic brings images'),
        (['--synthetic', '0'], '--synthetic 0'),
        (['person.png', '--masks', 'person-mask.png', 'person-mask.png'], '2 for 1 images'),
        (['person.png', '--masks', 'crowd-mask.png'], '100x60 pixels, but'),
        (['person.png', '--masks', 'empty.png'], 'shows no person'),
        (['person.png', '--against', 'none.pth'], 'none.pth'),
        (['person.png', '--scales', '0'], '--scales 0'),
        (['person.png', 'X=b/epoch_1.pth'], 'follow --against, as in --against X='),
        (['person.png', '--crowd', 'b/epoch_1.pth'], 'follow --against, as in --against'),
        (
            ['person.png', '--against', 'b/epoch_1.pth', 'b/epoch_1.pth'],
            'called b/epoch_1; give',
        ),
        (['person.png', '--against', 'X=b/epoch_1.pth', 'X=c/epoch_1.pth'], '2 rows would be'),
        (['person.png', '--out', 'a3.txt'], 'a3.txt: a PNG is written; its name has to end'),
        (['person.png', '--out', 'a3'], 'a3: a PNG is written; its name has to end'),
    ],
)
def test_wrong_flags_are_one_line(files, monkeypatch, capsys, arguments, message):
    names = {'B': 'b/epoch_1.pth'}
    given = [
        re.sub(r'^(X=)?', rf'\1{files}/', names.get(x, x)) if re.search(r'\.p|^B$', x) else x
        for x in arguments
    ]
    out = [] if '--out' in given else ['--out', files / 'out.png']
    run = [files / 'a' / 'epoch_1.pth', *given, *out]
    monkeypatch.chdir(files)
    assert call_tool(monkeypatch, 'visualization/draw_attention.py', *run) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert message in error
    assert not [path for path in files.iterdir() if path.name in ('out.png', 'a3.txt', 'a3')]
