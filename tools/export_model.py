"""Write a checkpoint as a file that runs without this project.

    python tools/export_model.py BACKBONE.pth encoder.onnx --format onnx --dynamic-batch

Exports, runs the source and the exported model on the same images, and writes nothing where they
differ; see docs/deployment.md.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

import numpy as np

from saip.checkpoint import file_sha256
from saip.datasets.files import check_output, write_atomic
from saip.deploy import (
    FEATURES,
    Program,
    convert_openvino,
    embedded_images,
    export_onnx,
    folder_images,
    quantize_onnx,
    quantize_openvino,
    read_programs,
    read_retrieval_set,
    write_timm_folder,
)
from saip.errors import InputError, one_line_errors

SUFFIXES = {
    'onnx': ('.onnx', 'an ONNX file has .onnx'),
    'openvino': ('.xml', 'OpenVINO has .xml, and .bin beside it'),
    'timm': ('', ''),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Export a checkpoint for a device')
    parser.add_argument(
        'checkpoint', type=Path, help='of a pretraining or a task, or an exported backbone'
    )
    parser.add_argument(
        'out', type=Path, metavar='OUT', help='file to write, a new folder for timm'
    )
    parser.add_argument('--format', choices=('onnx', 'timm', 'openvino'), default='onnx')
    parser.add_argument(
        '--which',
        choices=('student', 'expert'),
        help='of a pretraining: the trained encoder (default) or its moving average',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='height and width of the images (default: those of the training)',
    )
    parser.add_argument(
        '--dynamic-batch',
        action='store_true',
        help='any number of images at once; default: one',
    )
    parser.add_argument(
        '--calibration',
        type=Path,
        metavar='FOLDER',
        help='images on which source and export are compared (default: synthetic persons), and '
        'on which --int8 finds the ranges of the activations',
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='quantize to int8; layers that cost too much stay in float',
    )
    parser.add_argument(
        '--retrieval',
        type=Path,
        metavar='FOLDER',
        help='persons in Market-1501 layout that an int8 encoder has to find as well as the one in '
        'float (default: synthetic persons)',
    )
    args = parser.parse_args()
    check_options(args)
    return args


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: they do not.
    """
    if args.format == 'timm' and (args.int8 or args.dynamic_batch):
        raise InputError('--format timm: a folder of weights has neither int8 nor a batch')
    suffix, named = SUFFIXES[args.format]
    if suffix and args.out.suffix != suffix:
        raise InputError(f'{args.out}: {named}; name OUT so')
    if args.int8 and args.calibration is None:
        raise InputError(
            '--int8 needs --calibration FOLDER: about a hundred images like those that the device '
            'will see'
        )
    if args.retrieval is not None and not args.int8:
        raise InputError('--retrieval judges int8: add --int8')


@one_line_errors()
def main() -> None:
    """Export, compare, write."""
    args = parse_args()
    programs = read_programs(args.checkpoint, args.which, args.size)
    source = {'sha256': file_sha256(args.checkpoint)}
    if args.format == 'timm':
        (program,) = programs[:1]
        inputs = inputs_of(program, args.calibration)
        comparisons = write_timm_folder(program, args.out, inputs, source)
        print(*comparisons, sep='\n')
        print(f"timm.create_model('local-dir:{args.out}', pretrained=True, num_classes=0)")
        return
    outs = [part_of(args.out, program) for program in programs]
    for out in outs:
        check_output(out)
        if args.format == 'openvino':
            check_output(out.with_suffix('.bin'))
    # All are compared before the first is written.
    contents: dict[Path, bytes] = {}
    for program, out in zip(programs, outs, strict=True):
        contents |= export(program, out, source, args)
    for path, content in contents.items():
        write_atomic(path, content)
        print(f'{path}: {len(content) / 1e6:.1f} MB')


def part_of(out: Path, program: Program) -> Path:
    """OUT of a program; with its part in the name where the task has several."""
    return out.with_stem(f'{out.stem}-{program.part}') if program.part else out


def export(
    program: Program, out: Path, source: dict[str, str], args: argparse.Namespace
) -> dict[Path, bytes]:
    """Export and compare one program; what is to be written, by file."""
    inputs = inputs_of(program, args.calibration)
    exported = export_onnx(program, inputs, source, None if args.dynamic_batch else 1)
    print(exported)
    people = None
    if args.int8 and program.task in FEATURES:
        people = read_retrieval_set(args.retrieval, program.size, program.input['resize'])
    if args.format == 'onnx':
        if args.int8:
            exported, lines = quantize_onnx(exported, program, inputs, people)
            print(exported, *lines, sep='\n')
        return {out: exported.content}
    xml, weights, comparisons = convert_openvino(exported, program, inputs)
    print('in OpenVINO:', *comparisons, sep='\n  ')
    if args.int8:
        xml, weights, comparisons, lines = quantize_openvino(
            xml, weights, program, inputs, people
        )
        print('in int8:', *comparisons, sep='\n  ')
        print(*lines, sep='\n')
    return {out.with_suffix('.bin'): weights, out: xml}


def inputs_of(program: Program, folder: Path | None) -> np.ndarray:
    """What source and export are compared on: its own examples, a folder, synthetic persons."""
    if program.examples is not None:
        return program.examples
    resize = program.input['resize']
    if folder is None:
        return embedded_images(program.size, resize)
    return folder_images(folder, program.size, resize)


if __name__ == '__main__':
    main()
