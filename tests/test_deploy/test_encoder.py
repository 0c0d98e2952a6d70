"""Exported encoders: what they return, what they say of themselves, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saip.checkpoint import load_encoder
from saip.deploy import OnnxFile, OnnxFileError, Program, export_onnx
from saip.deploy.comparison import DifferenceError
from saip.deploy.program import FromPixels, Output, image_input
from saip.errors import InputError
from saip.version import __version__
from tests.tiny import ROOT
from tests.tools import call_tool

from .small import (
    ENCODERS,
    FRAGMENTS,
    SIZE,
    fragment_file,
    noise,
    outputs_of,
    run_alone,
)

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

BATCHES = (1, 3, 6)


def export(monkeypatch, *arguments: object) -> int:
    return call_tool(monkeypatch, 'export_model.py', *arguments)


@pytest.mark.parametrize('name', ENCODERS)
def test_a_file_equals_its_encoder_on_three_batch_sizes(
    name, checkpoints, tmp_path, monkeypatch
):
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoints[name], out, '--dynamic-batch') == 0
    batches = {f'batch{n}': noise(n, seed=n) for n in BATCHES}
    found = run_alone(out, batches, tmp_path)
    encoder, _ = load_encoder(checkpoints[name])
    for key, images in batches.items():
        for output, wanted in outputs_of(encoder, images).items():
            np.testing.assert_allclose(found.pop(f'{key} {output}'), wanted, atol=1e-4)
    assert not found
    assert [path.name for path in tmp_path.glob('*.onnx')] == ['encoder.onnx']


def test_another_size_is_that_of_the_encoder_at_this_size(checkpoints, tmp_path, monkeypatch):
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoints['vit'], out, '--size', 96, 64) == 0
    images = noise(1, (96, 64))
    found = run_alone(out, {'one': images}, tmp_path)
    encoder, _ = load_encoder(checkpoints['vit'])
    for output, wanted in outputs_of(encoder, images).items():
        np.testing.assert_allclose(found[f'one {output}'], wanted, atol=1e-4)
    assert OnnxFile.read(out).meta['input']['shape'] == [1, 96, 64, 3]


def test_the_metadata_say_what_a_program_needs(checkpoints, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoints['vit'], out) == 0
    meta = OnnxFile.read(out).meta
    assert meta['task'] == 'encoder'
    assert meta['input'] == {
        'name': 'images',
        'shape': [1, *SIZE, 3],
        'type': 'uint8',
        'color_order': 'RGB',
        'resize': 'bicubic',
    }
    names = [output['name'] for output in meta['outputs']]
    assert names == ['image_token', 'patch_tokens', 'map_16']
    assert meta['feature'] == 'image_token'
    assert meta['statistics']['mean'] == [120.0, 110.0, 100.0]
    digest = hashlib.sha256(checkpoints['vit'].read_bytes()).hexdigest()
    assert meta['source'] == {'sha256': digest}
    assert meta['saip_version'] == __version__
    shown = capsys.readouterr().out
    assert 'cosine of centered values 1.000000' in shown
    assert str(ROOT).encode() not in out.read_bytes()  # no path of the exporting machine


def test_images_of_a_folder_are_compared(checkpoints, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, pixels in enumerate(noise(3, (40, 30))):
        Image.fromarray(pixels).save(folder / f'{number}.png')
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoints['vit'], out, '--calibration', folder) == 0
    assert 'on 3 inputs' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.pth'], 'missing.pth: no such checkpoint file'),
        (['text.pth'], 'text.pth: truncated, damaged, or not a checkpoint'),
        (
            ['nan.pth'],
            r'nan.pth: 1 tensors hold values that are not finite, such as backbone\.',
        ),
        (['half.pth'], 'half.pth: truncated, damaged, or not a checkpoint'),
        (['vit', '--size', 60, 32], '--size 60 32: .*16-pixel patches; near: --size 64 32'),
        (['vit', '--calibration', 'nowhere'], 'nowhere: no such folder of images'),
        (['vit', '--calibration', 'empty'], 'empty: images in it: 0; at least 2'),
    ],
)
def test_what_cannot_be_exported_is_named_and_nothing_written(
    arguments, message, checkpoints, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path('text.pth').write_text('no checkpoint')
    Path('half.pth').write_bytes(checkpoints['vit'].read_bytes()[:5000])
    broken = torch.load(checkpoints['vit'], weights_only=True)
    del broken['meta']['tensors_sha256']
    next(iter(broken['state_dict'].values()))[0] = torch.nan
    torch.save(broken, 'nan.pth')
    Path('empty').mkdir()
    before = sorted(tmp_path.rglob('*'))
    source, *options = arguments
    code = export(monkeypatch, checkpoints.get(source, source), 'out.onnx', *options)
    assert code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error
    assert sorted(tmp_path.rglob('*')) == before


def test_a_place_that_cannot_be_written_is_named_before_the_export(
    checkpoints, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path('folder.onnx').mkdir()
    Path('file').write_text('')
    source = checkpoints['vit']
    cases = {
        'folder.onnx': 'folder.onnx: the file to write, but there is a folder of this name',
        'file/x.onnx': 'file/x.onnx: the file to write, but file is no folder',
        'x.pth': 'x.pth: an ONNX file has .onnx; name OUT so',
        str(source): 'an ONNX file has .onnx',
    }
    content = source.read_bytes()
    for out, message in cases.items():
        assert export(monkeypatch, source, out) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr(os, 'access', lambda path, mode: str(path) != str(tmp_path))
    assert export(monkeypatch, source, 'new/x.onnx') == 2
    assert 'new/x.onnx: the file to write, but ' in capsys.readouterr().err
    assert source.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder.onnx']


class Pair(torch.nn.Module):
    """Two outputs: the mean of an image, and what ``second`` makes of it."""

    def __init__(self, second):
        super().__init__()
        self.second = second

    def forward(self, images):
        mean = images.mean((2, 3))
        return mean, self.second(mean)


def program(second) -> Program:
    network = FromPixels(Pair(second), [0] * 3, [1] * 3).eval()
    outputs = (Output('mean', 'of every channel'), Output('second', ''))
    return Program('pair', network, image_input((16, 16), 'bilinear'), outputs)


def test_an_operator_without_onnx_form_is_refused():
    message = 'pair: torch cannot write this network as ONNX: .*(special_bessel|bessel)'
    with pytest.raises(InputError, match=message):
        export_onnx(program(torch.special.bessel_j0), noise(2, (16, 16)), {})


def test_an_export_that_computes_something_else_is_refused(monkeypatch):
    """As where an exporter has an operator wrong."""
    right = program(torch.sin)
    monkeypatch.setattr(Program, 'run', lambda self, inputs: wrong(right, inputs))
    message = 'nothing was written.*second: largest difference 1.00e-03'
    with pytest.raises(DifferenceError, match=message):
        export_onnx(right, noise(2, (16, 16)), {})


def wrong(program: Program, inputs: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad():
        mean, second = program.network(torch.from_numpy(inputs))
    return {'mean': mean.numpy(), 'second': second.numpy() + np.float32(1e-3)}


def test_damaged_files_and_those_of_others_are_named(checkpoints, tmp_path, monkeypatch):
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoints['resnet'], out) == 0
    half = tmp_path / 'half.onnx'
    half.write_bytes(out.read_bytes()[: out.stat().st_size // 2])
    with pytest.raises(OnnxFileError, match=r'half\.onnx: damaged, truncated'):
        OnnxFile.read(half)
    import onnx

    model = onnx.load(out)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'other.onnx')
    with pytest.raises(OnnxFileError, match=r'other\.onnx: .*did not write'):
        OnnxFile.read(tmp_path / 'other.onnx')
    assert json.loads(json.dumps(OnnxFile.read(out).meta)) == OnnxFile.read(out).meta


@pytest.mark.slow
@pytest.mark.parametrize('name', FRAGMENTS)
def test_every_encoder_is_exported(name, tmp_path, monkeypatch):
    checkpoint = fragment_file(name, tmp_path, (256, 128))
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoint, out, '--dynamic-batch') == 0
    batches = {f'batch{n}': noise(n, (256, 128), seed=n) for n in BATCHES}
    found = run_alone(out, batches, tmp_path)
    encoder, _ = load_encoder(checkpoint)
    for key, images in batches.items():
        for output, wanted in outputs_of(encoder, images).items():
            largest = max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(
                found[f'{key} {output}'], wanted, rtol=0, atol=1e-4 * largest
            )
