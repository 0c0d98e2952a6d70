"""OpenVINO's form of an exported ONNX model: a file .xml and its weights .bin beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.libraries import require
from saip.deploy.onnx_file import KEY, OnnxFile
from saip.deploy.running import Outputs
from saip.errors import InputError, MissingFileError, one_line


class OpenVinoFileError(InputError):
    """An OpenVINO file is damaged, or was not written by this project."""


def to_openvino(content: bytes) -> tuple[bytes, bytes]:
    """Convert an ONNX model of this project in float32; contents of .xml and .bin."""
    openvino = require('openvino')
    meta = OnnxFile(content, 'the exported model').meta
    with tempfile.TemporaryDirectory(prefix='saip-openvino-') as folder:
        path = Path(folder) / 'model.onnx'
        path.write_bytes(content)
        return openvino_bytes(openvino.convert_model(path), meta)


def openvino_bytes(model: Any, meta: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Contents of .xml and .bin of a model of OpenVINO with its description."""
    model.set_rt_info(json.dumps(dict(meta)), [KEY])
    with tempfile.TemporaryDirectory(prefix='saip-openvino-') as folder:
        path = Path(folder) / 'model.xml'
        require('openvino').save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix('.bin').read_bytes()


def compile_model(model: Any, threads: int | None = None) -> Any:
    """Compile a model of OpenVINO for the CPU, what is not int8 in float32."""
    options = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}
    if threads is not None:
        options['INFERENCE_NUM_THREADS'] = str(threads)
    return require('openvino').Core().compile_model(model, 'CPU', options)


def run_compiled(compiled: Any, meta: Mapping[str, Any], inputs: np.ndarray) -> Outputs:
    """Run one batch through a compiled model with this description; the outputs by name."""
    found = compiled({meta['input']['name']: inputs})
    return {output['name']: found[output['name']] for output in meta['outputs']}


class OpenVinoFile:
    """An exported OpenVINO model on the CPU, in float32.

    Args:
        path: of the .xml.
        threads: of the CPU; None takes OpenVINO's choice.

    Attributes:
        meta: what the file says of itself, as of the ONNX file that it was made of.
        path: as given.

    Raises:
        MissingFileError: the file, or the .bin beside it, is missing.
        OpenVinoFileError: it is damaged or of another kind.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        openvino = require('openvino')
        path = Path(path)
        weights = path.with_suffix('.bin')
        for file in (path, weights):
            if not file.is_file():
                raise MissingFileError(f'{file}: no such file; OpenVINO has .xml and .bin')
        try:
            model = openvino.Core().read_model(path)
            self._compiled = compile_model(model, threads)
        except Exception as error:  # of a damaged file its readers raise any of many classes
            raise OpenVinoFileError(
                f'{path}: damaged, truncated, or no OpenVINO model ({one_line(error)[:160]}); copy '
                'or write it again'
            ) from error
        if not model.has_rt_info([KEY]):
            raise OpenVinoFileError(f'{path}: tools/export_model.py did not write this model')
        self.meta: dict[str, Any] = json.loads(model.get_rt_info([KEY]).astype(str))
        self.path = path
        self.size = path.stat().st_size + weights.stat().st_size

    @classmethod
    def written(cls, path: Path, xml: bytes, weights: bytes) -> OpenVinoFile:
        """Write a model and open it; the file stays mapped: it must not be written again."""
        path.write_bytes(xml)
        path.with_suffix('.bin').write_bytes(weights)
        return cls(path)

    @property
    def batch(self) -> int | None:
        """Rows of the input; None for any number."""
        return self.meta['input']['shape'][0]

    def run(self, inputs: np.ndarray) -> Outputs:
        """Run one batch; the outputs by name."""
        return run_compiled(self._compiled, self.meta, inputs)
