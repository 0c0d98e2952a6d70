"""ONNX files: written from a program, read and run with nothing but what they say themselves."""

from __future__ import annotations

import ast
import json
import logging
import os
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saip.deploy.libraries import require
from saip.deploy.program import Program
from saip.errors import InputError, MissingFileError, one_line
from saip.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = 'saip'
"""Entry of the file's metadata that holds the description, as JSON."""

OPSET = 18

SCOPES = 'pkg.torch.onnx.name_scopes'
"""Where torch's exporter notes the modules around a node."""

_TORCH_TYPES = {'uint8': torch.uint8, 'int64': torch.int64}
_EXAMPLES = 2
"""Rows of the example that is traced with a free batch: torch takes 0 and 1 for fixed sizes."""


class OnnxFileError(InputError):
    """An ONNX file is damaged, or was not written by this project."""


def describe(program: Program, source: Mapping[str, Any], batch: int | None) -> dict[str, Any]:
    """Plain values by which a file can be run.

    Args:
        program: in the file.
        source: where its weights come from, such as the checkpoint's digest.
        batch: rows of every input; None for any number.
    """
    part = {'part': program.part} if program.part else {}
    return {
        'task': program.task,
        **part,
        'input': {**program.input, 'shape': [batch, *program.input['shape']]},
        'outputs': [{'name': o.name, 'meaning': o.meaning} for o in program.outputs],
        **program.about,
        'source': dict(source),
        'saip_version': __version__,
    }


def to_onnx(program: Program, meta: Mapping[str, Any]) -> bytes:
    """Write a program as an ONNX model with its weights inside; the batch is that of ``meta``.

    Raises:
        InputError: torch has no ONNX form of one of its operators.
    """
    for name in ('onnx', 'onnxscript'):
        require(name)
    batch = meta['input']['shape'][0]
    rows = _EXAMPLES if batch is None else batch
    kind = _TORCH_TYPES[program.input['type']]
    example = torch.zeros(rows, *program.input['shape'], dtype=kind)
    free = None if batch else ({0: torch.export.Dim('batch', max=4096)},)
    with _quietly(), torch.no_grad():
        try:
            traced = torch.export.export(
                program.network, (example,), dynamic_shapes=free, strict=False
            )
            exported: Any = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=[program.input['name']],
                output_names=[output.name for output in program.outputs],
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.UserError) as error:
            raise InputError(
                f'{program.task}: torch cannot write this network as ONNX: {_cause(error)}'
            ) from error
    model = exported.model_proto
    _name_by_modules(model)
    _clean(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(meta)
    return model.SerializeToString(deterministic=True)


def _cause(error: BaseException) -> str:
    """The innermost reason of torch's chain, without its pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)[:300]


def _name_by_modules(model: Any) -> None:
    """Begin the name of every node with that of its module, which messages about layers show."""
    for node in model.graph.node:
        scopes = {p.key: p.value for p in node.metadata_props}.get(SCOPES)
        module = ast.literal_eval(scopes)[-2:-1] if scopes else []
        if module and module[0]:
            node.name = f'{module[0]}/{node.name}'


def _clean(model: Any) -> None:
    """Take out what the exporter notes of its own run: names of source files, line by line."""
    model.doc_string = ''
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        graph.doc_string = ''
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ''
            del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.doc_string = ''
        del value.metadata_props[:]


def copy_description(source: bytes, target: bytes, **more: Any) -> bytes:
    """Give a model made of another the description of that, with more entries."""
    onnx = require('onnx')
    stored = {p.key: p.value for p in onnx.load_from_string(source).metadata_props}
    model = onnx.load_from_string(target)
    _clean(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps({**json.loads(stored[KEY]), **more})
    return model.SerializeToString(deterministic=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the notes of torch, onnxscript and their libraries off the screen."""
    names = ('torch.onnx', 'torch.export', 'onnxscript', 'onnx_ir')
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


class OnnxFile:
    """An exported ONNX model, run by ONNX Runtime on the CPU.

    Args:
        content: of the file.
        name: of the file, for messages.
        threads: of a single operator; None takes ONNX Runtime's choice, all cores.

    Attributes:
        meta: what the file says of itself, see :func:`describe`.

    Raises:
        OnnxFileError: the content is damaged or has no such description.
    """

    def __init__(self, content: bytes, name: str, threads: int | None = None) -> None:
        runtime = require('onnxruntime')
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self.session = runtime.InferenceSession(
                content, options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # of a damaged file its parser raises any of many classes
            raise OnnxFileError(
                f'{name}: damaged, truncated, or no ONNX model ({one_line(error)[:160]}); copy '
                'or write it again'
            ) from error
        stored = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        if stored is None:
            raise OnnxFileError(
                f'{name}: an ONNX model that tools/export_model.py did not write: its metadata '
                f'has no entry {KEY!r}'
            )
        self.meta: dict[str, Any] = json.loads(stored)
        self.size = len(content)

    @classmethod
    def read(cls, path: str | os.PathLike[str], threads: int | None = None) -> OnnxFile:
        """Open a file.

        Raises:
            MissingFileError: there is none.
            OnnxFileError: it is damaged or of another kind.
        """
        if not Path(path).is_file():
            raise MissingFileError(f'{path}: no such ONNX file')
        return cls(Path(path).read_bytes(), str(path), threads)

    @property
    def batch(self) -> int | None:
        """Rows of the input; None for any number."""
        return self.meta['input']['shape'][0]

    def run(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run one batch; the outputs by name."""
        names = [output['name'] for output in self.meta['outputs']]
        found = self.session.run(names, {self.meta['input']['name']: inputs})
        return dict(zip(names, found, strict=True))
