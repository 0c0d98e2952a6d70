"""int8 of OpenVINO models by NNCF, which knows what OpenVINO's kernels take.

It also corrects the biases for what rounding shifts.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.judge import Judge, Kept
from saip.deploy.libraries import require
from saip.deploy.openvino_file import compile_model, run_compiled
from saip.deploy.running import Run
from saip.deploy.sensitivity import keep_in_float

LAYERS = ('Convolution', 'GroupConvolution', 'MatMul')
"""Kinds of operators that become int8, and others with them."""


def quantize_model(path: Path, inputs: np.ndarray, judge: Judge) -> tuple[Any, Kept]:
    """Quantize an OpenVINO model; layers that cost too much stay in float.

    Args:
        path: of its .xml, in float.
        inputs: (N, ...) for the calibration.
        judge: of the int8 model.

    Returns:
        The int8 model, and what stays in float.

    Raises:
        QuantizationError: there is nothing to quantize, or more than half of the layers would have
            to stay in float.
    """
    nncf = require('nncf')
    model = require('openvino').Core().read_model(path)
    layers = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in LAYERS
    ]
    data = nncf.Dataset([inputs[i : i + 1] for i in range(len(inputs))])

    def quantize(kept: Sequence[str]) -> Any:
        with _quietly():
            return nncf.quantize(
                model,
                data,
                subset_size=len(inputs),
                model_type=nncf.ModelType.TRANSFORMER,  # convolutions are served as well by it
                ignored_scope=nncf.IgnoredScope(names=list(kept), validate=False),
            )

    def run(candidate: Any) -> Run:
        compiled = compile_model(candidate)
        return lambda batch: run_compiled(compiled, judge.meta, batch)

    return keep_in_float(
        layers,
        quantize,
        lambda candidate: judge.cosine(run(candidate)),
        lambda candidate: judge.keeps_metric(run(candidate)),
    )


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
