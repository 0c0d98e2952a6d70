"""Export a program, and compare the file with it before it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.comparison import Comparison, compare_outputs, refuse_difference
from saip.deploy.int8 import quantize
from saip.deploy.judge import Judge, Kept, Verdict, refuse
from saip.deploy.onnx_file import OnnxFile, copy_description, describe, to_onnx
from saip.deploy.openvino_file import OpenVinoFile, openvino_bytes, to_openvino
from saip.deploy.openvino_int8 import quantize_model
from saip.deploy.program import Program
from saip.deploy.retrieval import RetrievalSet, format_scores
from saip.deploy.running import run_all, run_program
from saip.errors import InputError

JUDGED = 32
"""Inputs on which an int8 model is compared."""


@dataclass(frozen=True)
class Exported:
    """A file that agrees with its source.

    Attributes:
        content: of the file.
        meta: what it says of itself.
        comparisons: of every output.
        images: how many rows were compared.
    """

    content: bytes
    meta: dict[str, Any]
    comparisons: list[Comparison]
    images: int

    def __str__(self) -> str:
        """Lines for the screen."""
        head = f'compared with its source on {self.images} inputs:'
        return '\n'.join([head, *(f'  {comparison}' for comparison in self.comparisons)])


def export_onnx(
    program: Program,
    inputs: np.ndarray,
    source: Mapping[str, Any],
    batch: int | None = 1,
) -> Exported:
    """Export a program to ONNX and compare both.

    Args:
        program: to export.
        inputs: (N, ...) what both are run on.
        source: where the weights come from, for the metadata.
        batch: rows of an input of the file; None for any number.

    Raises:
        InputError: an operator cannot be exported, or the task takes one image at a time.
        DifferenceError: an output of the file differs from the program's.
    """
    if program.fixed_batch and batch != 1:
        raise InputError(
            f'{program.task}: takes one image at a time; leave --dynamic-batch out'
        )
    meta = describe(program, source, batch)
    content = to_onnx(program, meta)
    file = OnnxFile(content, 'the exported model')
    wanted = run_program(program, inputs)
    comparisons = compare_outputs(program.outputs, wanted, run_all(file.run, inputs, batch))
    refuse_difference(comparisons)
    return Exported(content, meta, comparisons, len(inputs))


def quantize_onnx(
    exported: Exported,
    program: Program,
    inputs: np.ndarray,
    people: RetrievalSet | None,
) -> tuple[Exported, list[str]]:
    """Quantize an exported model to int8, judged by its outputs and by its task.

    Args:
        exported: in float.
        program: that it was made of.
        inputs: (N, ...) for calibration and comparison.
        people: to be retrieved before and after; None where the task has no feature.

    Returns:
        The int8 model, and lines about it for the screen.

    Raises:
        QuantizationError: int8 costs too much, whatever stays in float.
    """
    plain = OnnxFile(exported.content, 'float')
    judge = Judge(program.outputs, plain.run, exported.meta, inputs[:JUDGED], people)
    content, kept = quantize(
        exported.content,
        inputs,
        lambda content: judge.cosine(OnnxFile(content, 'int8').run),
        lambda content: judge.keeps_metric(OnnxFile(content, 'int8').run),
    )
    verdict = judge.verdict(OnnxFile(content, 'int8').run)
    about, lines = _report(kept, verdict)
    content = copy_description(exported.content, content, int8=about)
    meta = OnnxFile(content, 'int8').meta
    return Exported(content, meta, verdict.comparisons, len(judge.inputs)), lines


def _report(kept: Kept, verdict: Verdict) -> tuple[dict[str, Any], list[str]]:
    """What an int8 model costs: for its description, and lines for the screen."""
    about: dict[str, Any] = {'kept_in_float': list(kept.names), 'layers': kept.layers}
    found = verdict.retrieval
    if found is None:
        return about, [str(kept)]
    scores = ', '.join(f'{format_scores(found[key])} in {key}' for key in ('float', 'int8'))
    return {**about, 'retrieval': found}, [str(kept), f'{found["set"]}: {scores}']


def convert_openvino(
    exported: Exported, program: Program, inputs: np.ndarray
) -> tuple[bytes, bytes, list[Comparison]]:
    """Convert an exported model in float to OpenVINO and compare it with the program.

    Returns:
        Contents of .xml and .bin, and the comparison of every output.

    Raises:
        DifferenceError: an output differs by more than the tolerance.
    """
    xml, weights = to_openvino(exported.content)
    batch = exported.meta['input']['shape'][0]
    with tempfile.TemporaryDirectory(prefix='saip-openvino-') as folder:
        run = OpenVinoFile.written(Path(folder) / 'model.xml', xml, weights).run
        found = run_all(run, inputs, batch)
    comparisons = compare_outputs(program.outputs, run_program(program, inputs), found)
    refuse_difference(comparisons)
    return xml, weights, comparisons


def quantize_openvino(
    xml: bytes,
    weights: bytes,
    program: Program,
    inputs: np.ndarray,
    people: RetrievalSet | None,
) -> tuple[bytes, bytes, list[Comparison], list[str]]:
    """Quantize an OpenVINO model to int8, judged as :func:`quantize_onnx` does.

    Returns:
        Contents of .xml and .bin, the comparison of every output, and lines for the screen.

    Raises:
        QuantizationError: int8 costs too much, whatever stays in float.
    """
    with tempfile.TemporaryDirectory(prefix='saip-openvino-') as name:
        plain = OpenVinoFile.written(Path(name) / 'float.xml', xml, weights)
        judge = Judge(program.outputs, plain.run, plain.meta, inputs[:JUDGED], people)
        model, kept = quantize_model(plain.path, inputs, judge)
        content = openvino_bytes(model, plain.meta)
        run = OpenVinoFile.written(Path(name) / 'int8.xml', *content).run
        verdict = judge.verdict(run)
        if not verdict.fine:  # as written, not as it was in the search
            raise refuse(len(kept.names), kept.layers, verdict.cosine)
        about, lines = _report(kept, verdict)
        content = openvino_bytes(model, {**plain.meta, 'int8': about})
        return *content, verdict.comparisons, lines
