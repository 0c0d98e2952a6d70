"""int8 of OpenVINO models by NNCF, which knows what OpenVINO's kernels take.

It corrects the biases for what rounding shifts. Where a model loses too much, its accuracy control
returns the layers to float one after the other, the most sensitive first.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.judge import COSINE, KEPT_SHARE, Judge, Kept
from saip.deploy.libraries import require
from saip.deploy.openvino_file import run_compiled

LAYERS = ('Convolution', 'GroupConvolution', 'MatMul')
"""Kinds of operators that become int8."""

PASSING = (
    *('Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Split', 'VariadicSplit'),
    *('Slice', 'StridedSlice', 'Gather', 'MaxPool'),
)
"""Operators that give the values on that they get: what comes quantized leaves quantized."""


def quantize_model(path: Path, inputs: np.ndarray, judge: Judge) -> tuple[Any, Kept]:
    """Quantize an OpenVINO model; of the layers that cost too much up to half stay in float.

    Whether that is enough remains to be seen.

    Args:
        path: of its .xml, in float.
        inputs: (N, ...) for the calibration.
        judge: of the int8 model.

    Returns:
        The int8 model, and what stays in float.
    """
    nncf, openvino = require('nncf'), require('openvino')
    model = openvino.Core().read_model(path)
    layers = len(_layers(model))
    rows = [inputs[i : i + 1] for i in range(len(inputs))]
    judged = [judge.inputs[i : i + 1] for i in range(len(judge.inputs))]

    def validate(compiled: Any, data: Any) -> tuple[float, list[list[np.ndarray]]]:
        values = [list(compiled(row).values()) for row in data]
        return judge.value(lambda batch: run_compiled(compiled, judge.meta, batch)), values

    with _quietly():
        quantized = nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(rows),
            nncf.Dataset(judged),
            validate,
            max_drop=1 - COSINE,
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER,  # convolutions are served as well by it
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                max_num_iterations=int(KEPT_SHARE * layers), num_ranking_workers=1
            ),
        )
    kept = [node.get_friendly_name() for node in _layers(quantized) if not _is_int8(node)]
    return quantized, Kept(tuple(kept), layers)


def _layers(model: Any) -> list[Any]:
    """Convolutions and matrix products of a model."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() in LAYERS]


def _is_int8(layer: Any) -> bool:
    """Whether what a layer gets is quantized."""
    node = layer.input_value(0).get_node()
    while node.get_type_name() in PASSING:
        node = node.input_value(0).get_node()
    return node.get_type_name() == 'FakeQuantize'


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep notes and bars of the library off the screen."""
    logger = logging.getLogger('nncf')
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
