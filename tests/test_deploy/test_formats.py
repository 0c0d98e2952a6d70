"""Folders of timm and files of OpenVINO."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from saip.checkpoint import load_encoder
from saip.deploy import OpenVinoFile, OpenVinoFileError
from tests.tools import call_tool

from .small import ENCODERS, RESNET, SIZE, backbone_file, noise, normalized, outputs_of

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec('openvino') is None,
    reason='openvino is not installed',
)


def export(monkeypatch, *arguments: object) -> int:
    return call_tool(monkeypatch, 'export_model.py', *arguments)


@pytest.mark.parametrize('name', ENCODERS)
def test_timm_loads_the_folder(name, checkpoints, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'folder'
    assert export(monkeypatch, checkpoints[name], out, '--format', 'timm') == 0
    call = f"timm.create_model('local-dir:{out}', pretrained=True, num_classes=0)"
    assert call in capsys.readouterr().out
    model = eval(call).eval()
    images = noise(3)
    encoder, _ = load_encoder(checkpoints[name])
    with torch.no_grad():
        found = model(normalized(images))
    np.testing.assert_allclose(found, outputs_of(encoder, images)['image_token'], atol=1e-4)
    data = timm.data.resolve_data_config(model=model)
    assert data['input_size'] == (3, *SIZE)
    np.testing.assert_allclose(np.array(data['mean']) * 255, [120, 110, 100])
    assert (data['interpolation'], data['crop_pct'], data['crop_mode']) == (
        'bicubic',
        1.0,
        'squash',
    )
    assert json.loads((out / 'saip.json').read_text())['task'] == 'encoder'
    assert [path.name for path in tmp_path.iterdir()] == ['folder']


def test_what_timm_cannot_load_is_named_and_nothing_written(
    checkpoints, tmp_path, monkeypatch, capsys
):
    strided = backbone_file(
        tmp_path / 'file',
        {**RESNET, 'model': 'starnet_s050', 'output_stride': 16},
    )
    cases = {
        'option for this stride': (strided, tmp_path / 'out', []),
        'exists already': (checkpoints['vit'], tmp_path / 'file', []),
        'neither int8 nor a batch': (checkpoints['vit'], tmp_path / 'out', ['--dynamic-batch']),
    }
    for message, (source, out, options) in cases.items():
        assert export(monkeypatch, source, out, '--format', 'timm', *options) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['file']


@needs_openvino
def test_an_openvino_file_equals_its_encoder(checkpoints, tmp_path, monkeypatch):
    out = tmp_path / 'encoder.xml'
    options = ['--format', 'openvino', '--dynamic-batch']
    assert export(monkeypatch, checkpoints['resnet'], out, *options) == 0
    file = OpenVinoFile(out)
    encoder, _ = load_encoder(checkpoints['resnet'])
    for rows in (1, 3, 6):
        images = noise(rows, seed=rows)
        found = file.run(images)
        for output, wanted in outputs_of(encoder, images).items():
            np.testing.assert_allclose(found[output], wanted, atol=1e-4)
    assert file.meta['input']['shape'] == [None, *SIZE, 3]
    out.with_suffix('.bin').write_bytes(b'')
    with pytest.raises(OpenVinoFileError, match=r'encoder\.xml: damaged'):
        OpenVinoFile(out)
    out.with_suffix('.bin').unlink()
    with pytest.raises(OSError, match=r'encoder\.bin: no such file'):
        OpenVinoFile(out)


@needs_openvino
def test_an_openvino_file_needs_its_suffix(checkpoints, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'encoder.onnx'
    assert export(monkeypatch, checkpoints['vit'], out, '--format', 'openvino') == 2
    assert 'OpenVINO has .xml' in capsys.readouterr().err
    assert not list(Path(tmp_path).iterdir())
