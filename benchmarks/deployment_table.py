"""The encoders of the paper at 256x128 as files for a device: size, speed, memory, int8.

    python benchmarks/deployment_table.py OUT --machine-note "nothing else ran"

Writes every encoder as a checkpoint, ONNX and OpenVINO, the last two in int8, too, unless that is
refused, and measures all side by side. OUT gets the files, ``table.md``, ``benchmark.json`` and
``benchmark.png``. Called again it measures the files that are there. Without ``--weights`` the
encoders are untrained; what BatchNorm has to know of images comes from synthetic persons.
"""

from __future__ import annotations

from saip.startup import usable_cores

import argparse
import json
import logging
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from machine import processor
from mmengine.config import Config
from torch import nn

from saip.checkpoint import STATISTICS, export_backbone, file_sha256
from saip.configs import backbone_folder
from saip.datasets.canvas import decode_image
from saip.datasets.files import write_atomic
from saip.deploy import (
    convert_openvino,
    export_onnx,
    folder_images,
    quantize_onnx,
    quantize_openvino,
    read_programs,
    read_retrieval_set,
)
from saip.deploy.benchmark import Row, measure, record, table, verdicts
from saip.deploy.images import resized
from saip.deploy.judge import QuantizationError
from saip.deploy.plot import draw_benchmark
from saip.errors import one_line_errors
from saip.models.backbones import BaseEncoder
from saip.registry import MODELS
from saip.synthetic.market import SIZES, draw_image, list_images

ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m', 'edgenext-s', 'resnet18', 'cspnext-s')
SIZE = (256, 128)
CALIBRATION = 32
FORMS = {
    'PyTorch': '{}.pth',
    'ONNX Runtime': '{}.onnx',
    'ONNX Runtime, int8': '{}-int8.onnx',
    'OpenVINO': '{}.xml',
    'OpenVINO, int8': '{}-int8.xml',
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Encoders as files for a device')
    parser.add_argument('out', type=Path, metavar='OUT')
    parser.add_argument('--encoders', nargs='+', default=ENCODERS, metavar='NAME')
    parser.add_argument(
        '--weights', type=Path, metavar='FOLDER', help='checkpoints, NAME.pth each'
    )
    parser.add_argument(
        '--calibration', type=Path, metavar='FOLDER', help='default: synthetic persons'
    )
    parser.add_argument(
        '--retrieval', type=Path, metavar='FOLDER', help='default: synthetic persons'
    )
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--machine-note', default='', help='what else ran, for the table')
    return parser.parse_args()


def persons() -> np.ndarray:
    """Synthetic persons for the calibration; (N, h, w, 3) uint8."""
    spec = SIZES['small']
    plan = [image for image in list_images(spec) if image.kind == 'person']
    chosen = (plan[int(i)] for i in np.linspace(0, len(plan) - 1, CALIBRATION))
    images = (decode_image(draw_image(spec, image)) for image in chosen)
    return np.stack([resized(image, SIZE, 'bicubic') for image in images])


def untrained(name: str, images: np.ndarray) -> BaseEncoder:
    """An encoder with random weights whose BatchNorms know the statistics of images."""
    torch.manual_seed(0)
    config = Config.fromfile(backbone_folder() / f'{name}.py').backbone.to_dict()
    encoder: BaseEncoder = MODELS.build({**config, 'img_size': SIZE})
    encoder.reset_parameters()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches, here of one
    mean, std = (torch.tensor(STATISTICS[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        encoder.train().encode((pixels - mean) / std)
    return encoder.eval()


def write_checkpoint(name: str, path: Path, images: np.ndarray) -> None:
    """Write an untrained encoder as a backbone file."""
    encoder = untrained(name, images)
    tensors = {f'backbone.{key}': x for key, x in encoder.state_dict().items()}
    meta = {'architecture': encoder.architecture(), 'statistics': STATISTICS}
    checkpoint = {'state_dict': tensors, 'meta': meta}
    export_backbone(checkpoint, path.parent, formats=('pth',)).rename(path)


def write_forms(name: str, args: argparse.Namespace, images: np.ndarray) -> dict[str, str]:
    """Write all files of an encoder that are missing; why others are refused, by file."""
    checkpoint = args.out / f'{name}.pth'
    if not checkpoint.exists():
        if args.weights is None:
            write_checkpoint(name, checkpoint, images)
        else:
            write_atomic(checkpoint, (args.weights / f'{name}.pth').read_bytes())
    (program,) = read_programs(checkpoint, size=SIZE)
    source = {'sha256': file_sha256(checkpoint)}
    exported = export_onnx(program, images, source, batch=None)
    write_atomic(args.out / f'{name}.onnx', exported.content)
    xml, weights, _ = convert_openvino(exported, program, images)
    write_openvino(args.out / f'{name}.xml', xml, weights)
    people = read_retrieval_set(args.retrieval, SIZE, program.input['resize'])
    refused = {}
    try:
        smaller, lines = quantize_onnx(exported, program, images, people)
        write_atomic(args.out / f'{name}-int8.onnx', smaller.content)
        print(*lines, sep='\n', flush=True)
    except QuantizationError as error:
        refused[f'{name}-int8.onnx'] = str(error)
    try:
        xml, weights, _, lines = quantize_openvino(xml, weights, program, images, people)
        write_openvino(args.out / f'{name}-int8.xml', xml, weights)
        print(*lines, sep='\n', flush=True)
    except QuantizationError as error:
        refused[f'{name}-int8.xml'] = str(error)
    return refused


def write_openvino(path: Path, xml: bytes, weights: bytes) -> None:
    """Write both files of a model."""
    write_atomic(path.with_suffix('.bin'), weights)
    write_atomic(path, xml)


def compact(rows: Sequence[Row], encoders: Sequence[str]) -> str:
    """Median latency of one image by one thread, a line per encoder; - where there is no file."""
    by_file = {row.file: row for row in rows}
    lines = [['encoder', *FORMS], ['---'] * (1 + len(FORMS))]
    for name in encoders:
        found = (by_file.get(form.format(name)) for form in FORMS.values())
        speeds = (row and row.speed(1, 1) for row in found)
        lines.append([name, *(f'{s.median:.1f}' if s else '-' for s in speeds)])
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


@one_line_errors()
def main() -> None:
    """Write what is missing, measure everything."""
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.INFO)  # what mmengine says of every initialized layer
    start = time.monotonic()
    images = persons()
    if args.calibration is not None:
        images = folder_images(args.calibration, SIZE, 'bicubic', CALIBRATION)
    for name in args.encoders:
        note = args.out / f'{name}.json'
        if not note.exists():
            refused = write_forms(name, args, images)
            write_atomic(note, f'{json.dumps(refused, indent=2)}\n'.encode())
            print(f'{name}: {time.monotonic() - start:.0f} s', flush=True)
    names = [form.format(name) for name in args.encoders for form in FORMS.values()]
    paths = [args.out / name for name in names]
    rows = measure([p for p in paths if p.exists()], (1, 8), args.rounds, args.retrieval)
    refused = {}
    for name in args.encoders:
        refused |= json.loads((args.out / f'{name}.json').read_text())
    versions = ', '.join(
        f'{library} {version(library)}'
        for library in ('torch', 'onnxruntime', 'openvino', 'nncf')
    )
    text = [
        f'{processor()}, {usable_cores()} cores; {versions}. {args.machine_note}'.strip(),
        compact(rows, args.encoders),
        table(rows),
        *verdicts(rows),
        *(f'{file}: {reason}' for file, reason in refused.items()),
        f'{(time.monotonic() - start) / 60:.0f} minutes',
    ]
    write_atomic(args.out / 'table.md', ('\n\n'.join(text) + '\n').encode())
    write_atomic(args.out / 'benchmark.json', json.dumps(record(rows), indent=2).encode())
    write_atomic(args.out / 'benchmark.png', draw_benchmark(rows))
    print(*text, sep='\n\n')


if __name__ == '__main__':
    main()
