"""Static int8 quantization of an ONNX model by ONNX Runtime.

Weights are symmetric int8 per output channel, activations uint8 per tensor, in the QDQ format.
Convolutions and matrix products are quantized, everything else stays in float.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.judge import Kept
from saip.deploy.libraries import require
from saip.deploy.onnx_file import copy_description
from saip.deploy.sensitivity import keep_in_float

QUANTIZED = ('Conv', 'Gemm', 'MatMul')
"""Kinds of operators that become int8."""

CLIPPING = ('Relu', 'Clip')
"""Operators that cut the range of a convolution: their result is quantized, not what they get."""


class Quantizer:
    """Makes int8 models of one model, calibrated once.

    Args:
        content: of the ONNX file in float.
        inputs: (N, ...) on which the ranges of the activations are found.
        folder: for temporary files.

    Attributes:
        layers: names of the operators that can be quantized, in the order of the graph.
    """

    def __init__(self, content: bytes, inputs: np.ndarray, folder: Path) -> None:
        onnx = require('onnx')
        self._tools = require('onnxruntime.quantization')
        shapes = require('onnxruntime.quantization.shape_inference')
        self._original = content
        self._model = folder / 'float.onnx'
        self._ranges = folder / 'ranges.json'
        self._out = folder / 'int8.onnx'
        self._model.write_bytes(content)
        with _quietly():
            # Its symbolic shape inference finds nothing that the exporter has not written already.
            shapes.quant_pre_process(self._model, self._model, skip_symbolic_shape=True)
        graph = onnx.load(self._model).graph
        self._input = graph.input[0].name
        self._inputs = inputs
        self.layers = [node.name for node in graph.node if node.op_type in QUANTIZED]

    def quantize(self, kept: Sequence[str] = ()) -> bytes:
        """Quantize all layers but some; the file's content."""
        tools = self._tools
        with _quietly():
            tools.quantize_static(
                self._model,
                self._out,
                _Reader(self._input, self._inputs),
                quant_format=tools.QuantFormat.QDQ,
                op_types_to_quantize=[*QUANTIZED, *CLIPPING],
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                nodes_to_exclude=list(kept),
                calibration_cache_path=self._ranges,
                calibrate_method=tools.CalibrationMethod.Percentile,  # not the rarest values
                extra_options={'CalibStridedMinMax': 1},  # histograms grow image by image
            )
        return copy_description(self._original, self._out.read_bytes())


class _Reader:
    """Gives a calibrator one input after the other."""

    def __init__(self, name: str, inputs: np.ndarray) -> None:
        self._name, self._inputs = name, inputs
        self._places = iter(range(len(inputs)))

    def __len__(self) -> int:
        return len(self._inputs)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin again, with some of the inputs."""
        self._places = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input; None after the last."""
        place = next(self._places, None)
        return None if place is None else {self._name: self._inputs[place : place + 1]}


def quantize(
    content: bytes,
    inputs: np.ndarray,
    cosine: Callable[[bytes], float],
    keeps_metric: Callable[[bytes], bool],
) -> tuple[bytes, Kept]:
    """Quantize a model; layers that cost too much stay in float.

    Args:
        content: of the ONNX file in float.
        inputs: (N, ...) for the calibration.
        cosine: of centered outputs of an int8 model and the one in float, the smallest of all.
        keeps_metric: whether an int8 model still does its task; asked where the cosine is large
            enough.

    Returns:
        The int8 model, and what stays in float.

    Raises:
        QuantizationError: there is nothing to quantize, or more than half of the layers would have
            to stay in float.
    """
    with tempfile.TemporaryDirectory(prefix='saip-int8-') as folder:
        quantizer = Quantizer(content, inputs, Path(folder))
        return keep_in_float(quantizer.layers, quantizer.quantize, cosine, keeps_metric)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the library off the screen: it logs its advice to the root logger, and prints."""
    before: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
