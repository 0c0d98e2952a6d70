"""OpenVINO's form of an exported ONNX model: a file .xml and its weights .bin beside it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.libraries import require
from saip.deploy.onnx_file import KEY, OnnxFile
from saip.errors import InputError, MissingFileError, one_line


class OpenVinoFileError(InputError):
    """An OpenVINO file is damaged, or was not written by this project."""


def to_openvino(content: bytes) -> tuple[bytes, bytes]:
    """Convert an ONNX model of this project, in float32 or int8; contents of .xml and .bin."""
    openvino = require('openvino')
    meta = OnnxFile(content, 'the exported model').meta
    with tempfile.TemporaryDirectory(prefix='saip-openvino-') as folder:
        path = Path(folder) / 'model.onnx'
        path.write_bytes(content)
        model = openvino.convert_model(path)
        model.set_rt_info(json.dumps(meta), [KEY])
        openvino.save_model(model, path.with_suffix('.xml'), compress_to_fp16=False)
        return path.with_suffix('.xml').read_bytes(), path.with_suffix('.bin').read_bytes()


class OpenVinoFile:
    """An exported OpenVINO model on the CPU, in float32.

    Args:
        path: of the .xml.
        threads: of the CPU; None takes OpenVINO's choice.

    Attributes:
        meta: what the file says of itself, as of the ONNX file that it was made of.

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
        options = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}
        if threads is not None:
            options['INFERENCE_NUM_THREADS'] = str(threads)
        core = openvino.Core()
        try:
            model = core.read_model(path)
            self._compiled = core.compile_model(model, 'CPU', options)
        except Exception as error:  # of a damaged file its readers raise any of many classes
            raise OpenVinoFileError(
                f'{path}: damaged, truncated, or no OpenVINO model ({one_line(error)[:160]}); copy '
                'or write it again'
            ) from error
        if not model.has_rt_info([KEY]):
            raise OpenVinoFileError(f'{path}: tools/export_model.py did not write this model')
        self.meta: dict[str, Any] = json.loads(model.get_rt_info([KEY]).astype(str))
        self.size = path.stat().st_size + weights.stat().st_size

    @property
    def batch(self) -> int | None:
        """Rows of the input; None for any number."""
        return self.meta['input']['shape'][0]

    def run(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run one batch; the outputs by name."""
        found = self._compiled({self.meta['input']['name']: inputs})
        return {output['name']: found[output['name']] for output in self.meta['outputs']}
