"""int8: what is quantized, what stays in float, what is refused."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from saip.deploy import (
    OnnxFile,
    OpenVinoFile,
    convert_openvino,
    embedded_images,
    export_onnx,
    quantize_openvino,
    sensitivity,
)
from saip.deploy.comparison import centered_cosine
from saip.deploy.int8 import quantize
from saip.deploy.judge import COSINE, QuantizationError
from saip.deploy.program import FromPixels, Output, Program, image_input
from saip.deploy.retrieval import keeps, read_retrieval_set
from tests.tools import call_tool

from .small import SIZE, noise

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')


needs_openvino = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ('openvino', 'nncf')),
    reason='openvino and nncf are not installed',
)


@pytest.fixture(scope='module')
def persons(tmp_path_factory) -> Path:
    """A folder of images."""
    folder = tmp_path_factory.mktemp('persons')
    for number, pixels in enumerate(embedded_images((128, 64), 'bicubic', 12)):
        Image.fromarray(pixels).save(folder / f'{number}.png')
    return folder


def quantized_operators(content: bytes) -> int:
    """Convolutions and products all of whose two factors come from int8."""
    graph = onnx.load_from_string(content).graph
    made = {
        output
        for node in graph.node
        if node.op_type == 'DequantizeLinear'
        for output in node.output
    }
    kinds = ('Conv', 'Gemm', 'MatMul')
    return sum(node.op_type in kinds and {*node.input[:2]} <= made for node in graph.node)


def test_an_int8_encoder_finds_the_same_persons(
    checkpoints, persons, tmp_path, monkeypatch, capsys
):
    plain, small = tmp_path / 'float.onnx', tmp_path / 'int8.onnx'
    source = checkpoints['vit']
    assert call_tool(monkeypatch, 'export_model.py', source, plain) == 0
    code = call_tool(
        monkeypatch, 'export_model.py', source, small, '--int8', '--calibration', persons
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert 'synthetic persons: mAP' in shown
    meta = OnnxFile.read(small).meta
    layers, kept = meta['int8']['layers'], meta['int8']['kept_in_float']
    assert quantized_operators(small.read_bytes()) == layers - len(kept) > 5
    assert quantized_operators(plain.read_bytes()) == 0
    before, after = (meta['int8']['retrieval'][key] for key in ('float', 'int8'))
    assert keeps(before, after)
    images = embedded_images(SIZE, 'bicubic', 12)
    tokens = [
        np.concatenate([OnnxFile.read(path).run(x[None])['image_token'] for x in images])
        for path in (plain, small)
    ]
    assert not np.array_equal(*tokens)
    assert centered_cosine(*tokens) >= COSINE
    assert {key: meta[key] for key in ('task', 'input', 'source')} == {
        key: OnnxFile.read(plain).meta[key] for key in ('task', 'input', 'source')
    }


class Chain(nn.Module):
    """1x1 convolutions; ``loud`` of them have one large channel that no other reads."""

    def __init__(self, layers: int, loud: tuple[int, ...], loudness: float = 1e5) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            *(nn.Conv2d(3 if i == 0 else 8, 8, 1) for i in range(layers))
        )
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight[:, :, 0, 0])
        for i in loud:
            self.layers[i].weight.data[0] *= loudness
            self.layers[i + 1].weight.data[:, 0] = 0

    def forward(self, images):
        return (self.layers(images).mean((2, 3)),)


def chain_program(layers: int, loud: tuple[int, ...], loudness: float = 1e5) -> Program:
    network = FromPixels(Chain(layers, loud, loudness), [128.0] * 3, [64.0] * 3).eval()
    outputs = (Output('token', ''),)
    return Program('chain', network, image_input((8, 8), 'bilinear'), outputs)


def chain(layers: int, loud: tuple[int, ...]) -> bytes:
    return export_onnx(chain_program(layers, loud), images(), {}).content


def images() -> np.ndarray:
    """Of different colors."""
    rng = np.random.default_rng(0)
    colors = rng.integers(40, 216, (12, 1, 1, 3))
    return (colors + rng.integers(-40, 41, (12, 8, 8, 3))).astype(np.uint8)


def cosine_with(content: bytes):
    def run(model: bytes) -> np.ndarray:
        file = OnnxFile(model, 'chain')
        return np.concatenate([file.run(x[None])['token'] for x in images()])

    wanted = run(content)
    return lambda model: centered_cosine(wanted, run(model))


def test_layers_that_int8_destroys_stay_in_float_and_are_named():
    """The large channel takes the range of the activations between two convolutions."""
    content = chain(6, loud=(2,))
    cosine = cosine_with(content)
    found, kept = quantize(content, images(), cosine, lambda model: True)
    names = [name.partition('/')[0] for name in kept.names]
    assert sorted(names) == ['network.layers.2', 'network.layers.3']
    assert quantized_operators(found) == 4
    assert cosine(found) >= COSINE
    assert str(kept).startswith('int8: 4 of 6 layers; in float: network.layers.')


def test_a_model_that_int8_destroys_is_refused():
    content = chain(4, loud=(0, 1, 2))
    with pytest.raises(QuantizationError, match=r'int8 refused: with 2 of 4 layers in float'):
        quantize(content, images(), cosine_with(content), lambda model: True)


def test_a_model_whose_task_suffers_is_refused():
    content = chain(4, loud=())
    asked = []
    with pytest.raises(QuantizationError, match='its mAP falls by more than a point'):
        quantize(content, images(), lambda model: 1.0, lambda model: bool(asked.append(model)))
    assert len(asked) == 2


@needs_openvino
def test_an_openvino_encoder_in_int8_finds_the_same_persons(
    checkpoints, persons, tmp_path, monkeypatch, capsys
):
    out = tmp_path / 'int8.xml'
    options = ['--format', 'openvino', '--int8', '--calibration', persons]
    assert call_tool(monkeypatch, 'export_model.py', checkpoints['vit'], out, *options) == 0
    shown = capsys.readouterr().out
    assert 'synthetic persons: mAP' in shown
    assert 'Statistics collection' not in shown  # the library's own bars
    plain = tmp_path / 'float.xml'
    options = ['--format', 'openvino']
    assert call_tool(monkeypatch, 'export_model.py', checkpoints['vit'], plain, *options) == 0
    files = [OpenVinoFile(path) for path in (plain, out)]
    meta = files[1].meta
    assert {**meta, 'int8': None} == {**files[0].meta, 'int8': None}
    layers, kept = meta['int8']['layers'], meta['int8']['kept_in_float']
    text = out.read_text()
    assert text.count('type="FakeQuantize"') >= layers - len(kept) > 5
    assert 'FakeQuantize' not in plain.read_text()
    found = [meta['int8']['retrieval'][key] for key in ('float', 'int8')]
    assert keeps(*found)
    inputs = embedded_images(SIZE, 'bicubic', 12)
    tokens = [
        np.concatenate([file.run(x[None])['image_token'] for x in inputs]) for file in files
    ]
    assert not np.array_equal(*tokens)
    assert centered_cosine(*tokens) >= COSINE


def quantized_chain(*arguments):
    program = chain_program(*arguments)
    xml, weights, _ = convert_openvino(export_onnx(program, images(), {}), program, images())
    return quantize_openvino(xml, weights, program, images(), None)


@needs_openvino
def test_openvino_quantizes_all_layers_where_that_is_enough():
    *_, comparisons, lines = quantized_chain(6, (2,), 30.0)
    assert comparisons[0].cosine >= COSINE
    assert lines == ['int8: 6 of 6 layers']


@needs_openvino
def test_openvino_keeps_layers_in_float_where_more_is_asked_for(monkeypatch):
    *_, whole, _ = quantized_chain(6, (2,), 30.0)
    monkeypatch.setattr(sensitivity, 'COSINE', (1 + whole[0].cosine) / 2)
    *_, comparisons, lines = quantized_chain(6, (2,), 30.0)
    kept = set(re.findall(r'network\.layers\.\d', lines[0]))
    assert lines[0].startswith(f'int8: {6 - len(kept)} of 6 layers; in float: network.layers.')
    assert 0 < len(kept) <= 3
    assert comparisons[0].cosine > whole[0].cosine


@needs_openvino
def test_openvino_refuses_a_model_that_int8_destroys():
    with pytest.raises(QuantizationError, match=r'int8 refused: with \d of 4 layers in float'):
        quantized_chain(4, (0, 1, 2))


def test_a_point_is_the_most_that_may_be_lost():
    before = {'mAP': 50.0, 'Rank-1': 80.0}
    assert keeps(before, {'mAP': 49.0, 'Rank-1': 70.0})
    assert not keeps(before, {'mAP': 48.9, 'Rank-1': 90.0})
    assert keeps({}, {})


def test_pixels_as_features_find_persons_better_than_chance():
    people = read_retrieval_set(None, (16, 8), 'bicubic')
    good = people.score(lambda x: x.reshape(len(x), -1).astype(np.float32) - 128)
    bad = people.score(lambda x: noise(len(x), (4, 4)).reshape(len(x), -1).astype(np.float32))
    assert good['mAP'] > bad['mAP'] + 5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--int8'], '--int8 needs --calibration FOLDER'),
        (['--int8', '--calibration', 'nowhere'], 'nowhere: no such folder of images'),
        (['--int8', '--calibration', 'empty'], 'empty: images in it: 0'),
        (['--retrieval', 'empty'], '--retrieval judges int8: add --int8'),
    ],
)
def test_what_int8_lacks_is_named_and_nothing_written(
    options, message, checkpoints, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path('empty').mkdir()
    code = call_tool(monkeypatch, 'export_model.py', checkpoints['vit'], 'out.onnx', *options)
    assert code == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['empty']
