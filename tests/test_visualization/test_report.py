"""Images show what the numbers say, and the report is one file that needs nothing else."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from saip.checkpoint import export_backbone
from saip.models.backbones import TimmEncoder, ViTEncoder
from saip.visualization.attention import (
    attention_of,
    draw_attention,
    draw_crowd_attention,
    overlay,
    prepare,
    scaled_size,
    tile_crowd,
)
from saip.visualization.curves import draw_curves, draw_losses, read_scalars, smooth
from saip.visualization.report import Figure, ReportData, write_report
from saip.visualization.retrieval import (
    HIT,
    MISS,
    RankedList,
    draw_ranked_lists,
    draw_retrieval_bars,
)
from tests.tools import call_tool

ROOT = Path(__file__).parents[2]
STATISTICS = {'mean': [10.0, 20.0, 30.0], 'std': [1.0, 2.0, 4.0]}


class BrightnessEncoder(nn.Module):
    """Looks at bright cells, of 16 or 32 pixels: what it should show is known."""

    img_size = (64, 32)

    def __init__(self, stride: int = 16) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.map_channels = {16: 8, stride: 8}
        self.map_strides = {16: 16, stride: stride}
        self.has_relations = stride == 16
        self.attention_is = 'attention' if self.has_relations else 'similarity'
        self.heads = 3 if self.has_relations else 1

    def attention_map(self, images: Tensor) -> Tensor:
        stride = max(self.map_channels)
        assert not any(side % stride for side in images.shape[-2:]), 'broken cells'
        cells = nn.functional.avg_pool2d(images.mean(1, keepdim=True), stride)
        return cells.flatten(2).softmax(-1).view_as(cells).expand(-1, self.heads, -1, -1)


def plain(color: str, size: tuple[int, int] = (32, 64)) -> Image.Image:
    return Image.new('RGB', size, color)


def write_scalars(work_dir: Path, run: str, lines: list[dict | str]) -> None:
    folder = work_dir / run / 'vis_data'
    folder.mkdir(parents=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / 'scalars.json').write_text('\n'.join(text))


def test_scalars_of_resumed_runs_are_joined(tmp_path: Path) -> None:
    first = [{'loss': 9.0 - step, 'lr': 1e-3, 'step': step, 'iter': step} for step in (1, 2, 3)]
    write_scalars(tmp_path, '20260101_000000', [*first, {'mAP': 5.0, 'step': 1}, '{"loss": 1'])
    write_scalars(tmp_path, '20260102_000000', [{'loss': 1.0, 'step': 3}, {'note': 'x'}])
    curves = read_scalars(tmp_path)
    assert curves == {
        'loss': [(1, 8.0), (2, 7.0), (3, 1.0)],
        'lr': [(1, 1e-3), (2, 1e-3), (3, 1e-3)],
        'mAP': [(1, 5.0)],
    }
    with pytest.raises(FileNotFoundError, match='nothing was logged'):
        read_scalars(tmp_path / 'other')


def test_smoothing_keeps_a_line_a_line() -> None:
    line = [(float(i), 3.0 * i) for i in range(20)]
    np.testing.assert_allclose(smooth(line, 7), line)
    assert smooth([(0, 0.0), (1, 3.0), (2, 0.0)], 3)[1] == (1, 1.0)


def test_curves_are_drawn() -> None:
    losses = {name: [(0, 2.0), (10, 1.0)] for name in ('loss', 'loss_csm', 'loss_csr')}
    two_rows = draw_losses({**losses, 'lr': [(0, 1.0)]})
    assert two_rows.height > draw_losses({'loss': losses['loss']}).height
    alone = draw_curves({'student': losses['loss']}, '%')
    compared = draw_curves({'student': losses['loss']}, '%', references={'a histogram': 1.0})
    assert alone.size == compared.size
    assert alone.tobytes() != compared.tobytes()
    with pytest.raises(ValueError, match='no loss among'):
        draw_losses({'lr': [(0, 1.0)]})


def test_bars_are_as_long_as_their_numbers() -> None:
    image = draw_retrieval_bars({'after training': {'mAP': 40.0}, 'before': {'mAP': 20.0}})
    pixels = np.asarray(image)
    after = (pixels == (0x1F, 0x5F, 0xA8)).all(-1).sum(1).max()
    before = (pixels == (0xB8, 0xC0, 0xC8)).all(-1).sum(1).max()
    assert after == pytest.approx(2 * before, abs=3)


def test_ranked_lists_frame_hits_and_misses() -> None:
    lists = [RankedList(plain('white'), [plain('black')] * 3, [True, False, False])] * 2
    sheet = draw_ranked_lists(lists, cell=(32, 64), border=2)
    colors = {color: count for count, color in sheet.getcolors(1 << 16)}
    ring = 36 * 68 - 32 * 64
    for color, expected in ((HIT, 2), (MISS, 4)):
        rgb = tuple(bytes.fromhex(color[1:]))
        assert colors[rgb] == expected * ring
    with pytest.raises(ValueError, match='no ranked list'):
        draw_ranked_lists([])


def test_prepare_normalizes() -> None:
    images = prepare(plain('#0a1424'), (48, 16), STATISTICS)
    assert images.shape == (1, 3, 48, 16)
    expected = torch.tensor([0.0, 0.0, (36 - 30) / 4]).view(1, 3, 1, 1).expand(1, 3, 48, 16)
    torch.testing.assert_close(images, expected)


def test_sizes_are_whole_cells() -> None:
    encoder = BrightnessEncoder()
    assert scaled_size(encoder, 1.0) == (64, 32)
    assert scaled_size(encoder, 1.4) == (96, 48)
    assert scaled_size(encoder, 0.01) == (16, 16)
    coarse = BrightnessEncoder(32)
    assert scaled_size(coarse, 1.4) == (96, 32)
    assert scaled_size(coarse, 0.01) == (32, 32)


def test_heat_lies_where_the_encoder_looks() -> None:
    image = plain('#303030')
    image.paste('#f0f0f0', (16, 32, 32, 48))
    encoder = BrightnessEncoder().train()
    attention = attention_of(encoder, image, (64, 32), STATISTICS)
    assert encoder.training
    assert attention.shape == (3, 4, 2)
    assert divmod(int(attention[0].argmax()), 2) == (2, 1)
    shown = overlay(plain('#303030'), attention.mean(0))
    red = np.asarray(shown)[..., 0].astype(float)
    row, column = np.unravel_index(red.argmax(), red.shape)
    assert (row // 16, column // 16) == (2, 1)
    flat = np.asarray(overlay(plain('#303030'), torch.ones(4, 2)))
    assert (flat == flat[0, 0]).all()


def test_coarse_cells_lie_where_they_are_in_the_image() -> None:
    # Drawn at 96 rows, three cells; the square is the last one.
    scene = plain('#303030', (64, 70))
    scene.paste('#f0f0f0', (32, 47, 64, 70))
    sheet = np.asarray(draw_crowd_attention(BrightnessEncoder(32), scene, STATISTICS))
    shown = sheet[-70:, 98:162, 0].astype(float)  # right of a column of 90 and its gap
    rows, columns = np.argwhere(shown >= shown.max() - 20).mean(0)
    assert (rows, columns) == pytest.approx((58, 48), abs=6)


def test_nothing_similar_is_dark_everywhere() -> None:
    shown = np.asarray(overlay(plain('#808080'), torch.zeros(2, 1)))
    assert (shown == shown[0, 0]).all()
    assert shown.max() < 0x80


def test_titles_say_what_is_drawn() -> None:
    vit = ViTEncoder(
        arch={'embed_dims': 16, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 32},
        feature_level=None,
    )
    star = TimmEncoder('starnet_s1', img_size=(64, 32))
    assert vit.attention_is == 'attention of the image token'
    assert star.attention_is == 'similarity to the image token'
    line = (0, 0, 200, 20)
    sheets = [
        draw_attention(BrightnessEncoder(stride), [plain('red')], STATISTICS, height=64)
        for stride in (16, 32)
    ]
    assert sheets[0].crop(line).tobytes() != sheets[1].crop(line).tobytes()


@pytest.mark.parametrize('scales', [(0.5,), (1.0, 1.5)])
def test_an_encoder_without_class_token_is_drawn(scales: tuple[float, ...]) -> None:
    encoder = TimmEncoder('starnet_s1', img_size=(64, 32))
    person = plain('#303030')
    person.paste('#f0f0f0', (8, 16, 24, 48))
    weights = attention_of(encoder, person, scaled_size(encoder, scales[-1]), STATISTICS)
    height, width = scaled_size(encoder, scales[-1])
    assert weights.shape == (1, height // 32, width // 32)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-5)
    sheet = draw_attention(encoder, [person], STATISTICS, scales, height=64)
    assert sheet.height > 64
    draw_crowd_attention(encoder, tile_crowd([person] * 3, cell=(40, 20)), STATISTICS)


def test_sheets() -> None:
    encoder = BrightnessEncoder()
    people = [plain('red'), plain('blue', (40, 60))]
    sheet = draw_attention(encoder, people, STATISTICS, scales=(1.0, 1.5), height=64)
    assert sheet.height > 2 * 64
    # An image of one row gives no strip of thousands of columns.
    strip = draw_attention(encoder, [plain('red', (500, 1))], STATISTICS, height=64)
    assert strip.width < 3 * 300
    crowd = tile_crowd([plain('red')] * 5, rows=2, cell=(60, 30))
    assert crowd.size == (90, 140)
    reds = sum(count for count, color in crowd.getcolors() if color == (255, 0, 0))
    assert reds == 5 * 60 * 30
    assert draw_crowd_attention(encoder, crowd, STATISTICS).width > 2 * 90


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ''

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report(tmp_path: Path) -> Path:
    data = ReportData(
        title='A <b>run</b> & more',
        summary={'images': 4800, 'mAP': 17.649, 'folder': '/a/<script>'},
        curves={'loss_csm': [(0, 3.0), (1, 2.0)], 'student mAP': [(0, 2.0), (1, 9.0)]},
        retrieval={'before training': {'mAP': 2.0}, 'after training': {'mAP': 9.0}},
        figures=[
            Figure('Views "of" one', 'What a <view> is.', plain('red'), 'Sharp.', 'Gray.')
        ],
        introduction='Short & plain.',
        verdict='It did <not> learn.',
        success=False,
    )
    return write_report(tmp_path / 'report', data)


def test_report_is_one_file_that_needs_nothing_else(report: Path) -> None:
    page = Page()
    page.feed(report.read_text(encoding='utf-8'))
    images = [attributes for tag, attributes in page.tags if tag == 'img']
    assert len(images) == 4
    assert all(image['src'].startswith('data:image/png;base64,') for image in images)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {'script', 'link', 'b', 'view'}
    assert not re.search(r'(?:src|href)="(?!data:)', report.read_text(encoding='utf-8'))
    assert any(attributes.get('name') == 'viewport' for _, attributes in page.tags)


def test_report_escapes_and_shows_what_it_was_given(report: Path) -> None:
    page = Page()
    page.feed(report.read_text(encoding='utf-8'))
    for text in ('A <b>run</b> & more', '4,800', '17.65', '/a/<script>', 'Short & plain.'):
        assert text in page.text
    assert page.text.index('It did <not> learn.') < page.text.index('Short & plain.')
    assert ('p', {'class': 'verdict no'}) in page.tags
    assert page.text.endswith('What a <view> is.\nGood: Sharp.\nBad: Gray.\n\n')
    last = [attributes for tag, attributes in page.tags if tag == 'img'][-1]
    assert last['alt'] == 'Views "of" one'
    content = base64.b64decode(last['src'].split(',')[1])
    shown = np.asarray(Image.open(BytesIO(content)).convert('RGB')).astype(int)
    assert shown.shape == (64, 32, 3)
    assert np.abs(shown - (255, 0, 0)).max() <= 2


def test_every_drawn_figure_says_what_is_good_and_bad(report: Path) -> None:
    page = report.read_text(encoding='utf-8')
    assert page.count('<strong>Good:</strong>') == page.count('<strong>Bad:</strong>') == 4


def test_images_lie_beside_the_report(report: Path) -> None:
    names = sorted(path.name for path in report.parent.iterdir())
    assert names == [
        'report-1-finding-the-same-person.png',
        'report-2-losses.png',
        'report-3-during-training.png',
        'report-4-views-of-one.png',
        'report.html',
    ]


def test_attention_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arch = {'embed_dims': 16, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 32}
    encoder = ViTEncoder(arch=arch, img_size=(64, 32), feature_level=None)
    encoder.init_weights()
    checkpoint = {
        'state_dict': {f'backbone.{key}': value for key, value in encoder.state_dict().items()},
        'meta': {'architecture': encoder.architecture()},
    }
    weights = export_backbone(checkpoint, tmp_path)
    plain('green').save(tmp_path / 'person.png')
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'half.png').write_bytes((tmp_path / 'person.png').read_bytes()[:60])

    def run(*arguments: object) -> int:
        return call_tool(monkeypatch, 'visualization/draw_attention.py', *arguments)

    out = tmp_path / 'new' / 'attention.png'
    assert run(weights, tmp_path / 'person.png', '--out', out, '--scales', 0.5, 1, 1.5) == 0
    assert Image.open(out).width > 4 * 90
    capsys.readouterr()
    for bad in (
        (weights, tmp_path / 'text.png'),
        (weights, tmp_path / 'none.png'),
        (weights, tmp_path / 'half.png'),
        (tmp_path / 'text.png', tmp_path / 'person.png'),
    ):
        assert run(*bad, '--out', out) == 2
        assert capsys.readouterr().err.count('\n') == 1


def test_scores_without_labels_are_called_what_they_are(tmp_path):
    scores = {'before training': {'recall@1': 11.0}, 'after training': {'recall@1': 32.0}}
    page = write_report(tmp_path, ReportData('SAIP', {}, retrieval=scores)).read_text()
    assert 'Finding the other view' in page
    assert 'another camera' not in page
