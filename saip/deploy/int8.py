"""Static int8 quantization of an exported model by ONNX Runtime, and a search for what it costs.

Weights are symmetric int8 per output channel, activations uint8 per tensor, in the QDQ format that
ONNX Runtime and OpenVINO both read. Convolutions and matrix products are quantized, everything
else stays in float.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.comparison import Comparison
from saip.deploy.libraries import require
from saip.deploy.onnx_file import copy_description
from saip.errors import InputError

QUANTIZED = ('Conv', 'Gemm', 'MatMul')
"""Kinds of operators that become int8."""

COSINE = 0.99
"""Smallest cosine of centered outputs of the int8 model and the one in float."""

KEPT_SHARE = 0.5
"""Largest share of the layers that may stay in float."""


class QuantizationError(InputError):
    """A model cannot be quantized without losing what it has learned."""


@dataclass(frozen=True)
class Quantized:
    """An int8 model.

    Attributes:
        content: of the file.
        kept: layers that stay in float, the most sensitive first.
        layers: how many could be quantized.
    """

    content: bytes
    kept: tuple[str, ...]
    layers: int

    def __str__(self) -> str:
        """One line for the screen."""
        text = f'int8: {self.layers - len(self.kept)} of {self.layers} layers'
        return f'{text}; in float: {", ".join(self.kept)}' if self.kept else text


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
                op_types_to_quantize=list(QUANTIZED),
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                nodes_to_exclude=list(kept),
                calibration_cache_path=self._ranges,
            )
        return copy_description(self._original, self._out.read_bytes())


class _Reader:
    """Gives a calibrator one input after the other."""

    def __init__(self, name: str, inputs: np.ndarray) -> None:
        self._rows: Iterator[dict[str, np.ndarray]] = (
            {name: inputs[i : i + 1]} for i in range(len(inputs))
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input; None after the last."""
        return next(self._rows, None)


def quantize(
    content: bytes,
    inputs: np.ndarray,
    cosine: Callable[[bytes], float],
    keeps_metric: Callable[[bytes], bool],
) -> Quantized:
    """Quantize a model; layers that cost too much stay in float.

    Where the whole model in int8 is not like the one in float, every layer is quantized alone, and
    the fewest of the most sensitive that have to stay in float are found by bisection.

    Args:
        content: of the ONNX file in float.
        inputs: (N, ...) for the calibration.
        cosine: of centered outputs of an int8 model and the one in float, the smallest of all.
        keeps_metric: whether an int8 model still does its task; asked where the cosine is large
            enough.

    Raises:
        QuantizationError: there is nothing to quantize, or more than half of the layers would have
            to stay in float.
    """
    with tempfile.TemporaryDirectory(prefix='saip-int8-') as folder:
        quantizer = Quantizer(content, inputs, Path(folder))
        layers = quantizer.layers
        if not layers:
            raise QuantizationError(
                f'the model has no {", ".join(QUANTIZED)} that could be quantized'
            )

        def fine(candidate: bytes) -> bool:
            return cosine(candidate) >= COSINE and keeps_metric(candidate)

        whole = quantizer.quantize()
        if fine(whole):
            return Quantized(whole, (), len(layers))
        alone = {
            name: cosine(quantizer.quantize([x for x in layers if x != name]))
            for name in layers
        }
        ranked = sorted(layers, key=alone.__getitem__)
        low, high = 0, int(KEPT_SHARE * len(layers))
        found = quantizer.quantize(ranked[:high])
        if not fine(found):
            raise QuantizationError(
                f'int8 refused: with {high} of {len(layers)} layers in float, the cosine of its '
                f'centered outputs with those in float is {cosine(found):.3f} ({COSINE} is '
                'needed), or its metric falls by more than a point; more than half of the layers '
                'would have to stay in float'
            )
        while high - low > 1:  # low fails, high is fine
            middle = (low + high) // 2
            candidate = quantizer.quantize(ranked[:middle])
            if fine(candidate):
                high, found = middle, candidate
            else:
                low = middle
        return Quantized(found, tuple(ranked[:high]), len(layers))


def refuse_int8(comparisons: Sequence[Comparison]) -> None:
    """Refuse an int8 model whose centered outputs differ from those in float.

    Raises:
        QuantizationError: a cosine is too small.
    """
    wrong = [str(comparison) for comparison in comparisons if comparison.cosine < COSINE]
    if wrong:
        raise QuantizationError(
            f'nothing was written, since int8 changes the outputs: {"; ".join(wrong)}; a cosine of '
            f'{COSINE} is needed'
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the advice of the library, which logs to the root logger, off the screen."""
    before: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
