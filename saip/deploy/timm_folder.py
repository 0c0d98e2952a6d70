"""A folder that ``timm.create_model('local-dir:FOLDER', pretrained=True)`` loads."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.models import save_for_hf

from saip.deploy.comparison import Comparison, compare_outputs, refuse_difference
from saip.deploy.onnx_file import describe
from saip.deploy.program import Output, Program
from saip.engine.converters.timm import to_timm
from saip.errors import InputError

DESCRIPTION = 'saip.json'
"""File of the folder that says what the weights are."""

TOKEN = Output('image_token', '')


def write_timm_folder(
    program: Program, out: str | os.PathLike[str], images: np.ndarray, source: Mapping[str, Any]
) -> list[Comparison]:
    """Write an encoder as a folder of timm; it appears complete, or not at all.

    Args:
        program: of a bare encoder.
        out: folder to make.
        images: (N, h, w, 3) uint8 on which timm's model and the encoder are compared.
        source: where the weights come from, for the description.

    Raises:
        InputError: the program is a task's, the folder exists, or timm cannot make the network from
            a folder.
        CheckpointError: timm has no such network.
        DifferenceError: timm's model computes something else.
    """
    if program.task != 'encoder':
        raise InputError(f'{program.task}: timm has bare encoders alone; take --format onnx')
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f'{out}: exists already; name a new folder')
    network: Any = program.network
    architecture = program.about['architecture']
    model, name, options, strided = to_timm(network.network.encoder, architecture)
    if strided:
        raise InputError(
            f'{name} with output_stride={architecture["output_stride"]} cannot be made from a '
            'folder: timm has no option for this stride; tools/model_converters/saip_to_timm.py '
            'writes a file and the lines that load it'
        )
    meta = describe(program, source, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        temporary.chmod(0o755)
        save_for_hf(
            model,
            str(temporary),
            model_args=options,
            safe_serialization=True,
            data_config=_preprocessing(program),
        )
        (temporary / DESCRIPTION).write_text(json.dumps(meta, indent=2) + '\n')
        comparisons = _compare(program, temporary, images)
        refuse_difference(comparisons)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return comparisons


def _preprocessing(program: Program) -> dict[str, Any]:
    """What timm's transforms have to do: the whole image, squeezed to the size."""
    statistics = program.about['statistics']
    return {
        'input_size': (3, *program.size),
        'mean': tuple(x / 255 for x in statistics['mean']),
        'std': tuple(x / 255 for x in statistics['std']),
        'interpolation': program.input['resize'],
        'crop_pct': 1.0,
        'crop_mode': 'squash',
    }


@torch.inference_mode()
def _compare(program: Program, folder: Path, images: np.ndarray) -> list[Comparison]:
    """Compare image tokens of the encoder and of what timm loads from a folder."""
    loaded = timm.create_model(f'local-dir:{folder}', pretrained=True, num_classes=0).eval()
    network: Any = program.network
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    found = loaded((pixels - network.mean) / network.std).numpy()
    return compare_outputs([TOKEN], program.run(images), {TOKEN.name: found})
