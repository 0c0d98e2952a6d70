"""Export a program, and compare the file with it before it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saip.deploy.comparison import Comparison, compare_outputs, refuse_difference
from saip.deploy.int8 import quantize, refuse_int8
from saip.deploy.onnx_file import OnnxFile, copy_description, describe, to_onnx
from saip.deploy.openvino_file import OpenVinoFile, to_openvino
from saip.deploy.program import Program
from saip.deploy.retrieval import RetrievalSet, format_scores, keeps
from saip.errors import InputError

JUDGED = 32
"""Inputs on which an int8 model is compared."""

BATCHES = (1, 2, 5)
"""Sizes of the batches, in turn, in which a file with a free batch is compared."""

Outputs = dict[str, np.ndarray]


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


FEATURES = {'encoder': 'image_token', 'reid': 'feature'}
"""Output of a task by which persons are retrieved."""


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
    batch = exported.meta['input']['shape'][0]
    some = inputs[:JUDGED]
    wanted = run_all(OnnxFile(exported.content, 'float').run, some, batch)

    def comparisons(content: bytes) -> list[Comparison]:
        found = run_all(OnnxFile(content, 'int8').run, some, batch)
        return compare_outputs(program.outputs, wanted, found)

    def cosine(content: bytes) -> float:
        return min(comparison.cosine for comparison in comparisons(content))

    def scores(content: bytes) -> dict[str, float]:
        assert people is not None
        file = OnnxFile(content, 'model')
        return people.score(lambda x: person_features(file.run, file.meta, x))

    before = None if people is None else scores(exported.content)
    after: dict[bytes, dict[str, float]] = {}

    def keeps_metric(content: bytes) -> bool:
        if before is None:
            return True
        after[content] = scores(content)
        return keeps(before, after[content])

    quantized = quantize(exported.content, inputs, cosine, keeps_metric)
    lines = [str(quantized)]
    more: dict[str, Any] = {'kept_in_float': list(quantized.kept), 'layers': quantized.layers}
    if people is not None and before is not None:
        now = after[quantized.content]
        lines.append(
            f'{people.name}: {format_scores(before)} in float, {format_scores(now)} in int8'
        )
        more['retrieval'] = {'set': people.name, 'float': before, 'int8': now}
    content = copy_description(exported.content, quantized.content, int8=more)
    meta = OnnxFile(content, 'int8').meta
    return Exported(content, meta, comparisons(content), len(some)), lines


def convert_openvino(
    exported: Exported, program: Program, inputs: np.ndarray
) -> tuple[bytes, bytes, list[Comparison]]:
    """Convert an exported model to OpenVINO and compare it with the program.

    Returns:
        Contents of .xml and .bin, and the comparison of every output.

    Raises:
        DifferenceError: an output differs: in float32 by more than the tolerance, in int8 by the
            cosine of centered values.
    """
    xml, weights = to_openvino(exported.content)
    batch = exported.meta['input']['shape'][0]
    with tempfile.TemporaryDirectory(prefix='saip-openvino-') as folder:
        path = Path(folder) / 'model.xml'
        path.write_bytes(xml)
        path.with_suffix('.bin').write_bytes(weights)
        found = run_all(OpenVinoFile(path).run, inputs, batch)
    comparisons = compare_outputs(program.outputs, run_program(program, inputs), found)
    if 'int8' in exported.meta:
        refuse_int8(comparisons)
    else:
        refuse_difference(comparisons)
    return xml, weights, comparisons


def person_features(
    run: Callable[[np.ndarray], Outputs], meta: Mapping[str, Any], images: np.ndarray
) -> np.ndarray:
    """Features (N, D) by which persons are retrieved, of a file with this description.

    The other outputs, which may be large maps, are dropped batch by batch.
    """

    def features(rows: np.ndarray) -> Outputs:
        outputs = run(rows)
        if meta.get('feature') == 'patch_mean':
            return {'feature': outputs['patch_tokens'].mean(1)}
        return {'feature': outputs[FEATURES[meta['task']]]}

    return run_all(features, images, meta['input']['shape'][0])['feature']


def run_program(program: Program, inputs: np.ndarray) -> Outputs:
    """Run (N, ...) inputs through a program; the outputs of all, by name."""
    return run_all(program.run, inputs, 1 if program.fixed_batch else None)


def run_all(
    run: Callable[[np.ndarray], Outputs], inputs: np.ndarray, batch: int | None
) -> Outputs:
    """Run (N, ...) inputs batch by batch; the outputs of all, by name.

    Args:
        run: of a program or a file.
        inputs: of all images.
        batch: its rows, the last batch is filled up with its last row; None for several sizes.
    """
    parts: list[Outputs] = []
    for rows in _batches(inputs, batch):
        filled = rows
        if batch is not None and len(rows) < batch:
            filled = np.concatenate([rows, np.repeat(rows[-1:], batch - len(rows), 0)])
        parts.append({name: x[: len(rows)] for name, x in run(filled).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batches(inputs: np.ndarray, batch: int | None) -> Iterator[np.ndarray]:
    start, turn = 0, 0
    while start < len(inputs):
        length = BATCHES[turn % len(BATCHES)] if batch is None else batch
        yield inputs[start : start + length]
        start, turn = start + length, turn + 1
