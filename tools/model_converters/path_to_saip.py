"""Convert a released encoder of PATH (HumanBench) into a frozen expert's file.

    python tools/model_converters/path_to_saip.py RELEASED.pth data/experts/path_vit-base-p16.pth

Name the result by SAIP_EXPERT and train a saip-star config; docs/method.md says what it does.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from io import BytesIO
from pathlib import Path

import torch

from saip.checkpoint import file_sha256, load_checkpoint_file
from saip.datasets.files import write_atomic
from saip.engine.converters import convert_path, has_class_position, path_architecture
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Convert PATH's released encoder")
    parser.add_argument('source', type=Path, help='released file')
    parser.add_argument('target', type=Path, help='file to write')
    parser.add_argument(
        '--blocks',
        type=int,
        help='keep the first so many blocks and a norm without parameters (default: all; 11 of '
        "12 ends with PATH's last trained block)",
    )
    parser.add_argument('--num-heads', type=int, help='default: width / 64')
    return parser.parse_args()


def convert(args: argparse.Namespace) -> str:
    """Convert a file; return a sentence about it.

    Raises:
        CheckpointError: the source is damaged or no released encoder of PATH.
        OSError: a file cannot be read or written.
    """
    checkpoint = load_checkpoint_file(args.source)
    state_dict = convert_path(checkpoint, args.blocks)
    architecture = path_architecture(state_dict, args.num_heads)
    meta = {'architecture': architecture, 'source_sha256': file_sha256(args.source)}
    buffer = BytesIO()
    torch.save({'state_dict': state_dict, 'meta': meta}, buffer)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(args.target, buffer.getvalue())
    text = f'{len(state_dict)} tensors; model.expert.encoder.arch={architecture["arch"]}'
    if has_class_position(checkpoint):
        return text
    return (
        f'{text}; the position table has no row for the class token, so this is a release '
        "whose class token PATH did not train: it is MAE's, and so are the image tokens that "
        'cross-scale matching would take for targets'
    )


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    args = parse_args()
    print(f'{args.target}: {convert(args)}')


if __name__ == '__main__':
    main()
