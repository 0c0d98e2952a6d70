"""Convert a checkpoint of the method's first release to this project's names.

    python tools/model_converters/release_to_saip.py checkpoint.pth saip.pth --trust

The result holds the whole algorithm (preset saip-official); tools/export_backbone.py takes the
backbone out of it.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from io import BytesIO
from pathlib import Path

import torch

from saip.checkpoint import CheckpointError, file_sha256, load_checkpoint_file
from saip.datasets.files import write_atomic
from saip.engine.converters import convert_release, release_architecture
from saip.errors import one_line_errors

OBJECTIVES = ['csm', 'relation', 'csr', 'css']


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Convert a checkpoint of the first release')
    parser.add_argument('source', type=Path, help='checkpoint of the release')
    parser.add_argument('target', type=Path, help='file to write')
    parser.add_argument(
        '--trust',
        action='store_true',
        help="accept the release's stored command line (an argparse.Namespace); it is not used",
    )
    parser.add_argument('--num-heads', type=int, help='default: width / 64')
    parser.add_argument(
        '--img-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='anchor size, where the number of patches does not tell it',
    )
    return parser.parse_args()


def convert(args: argparse.Namespace) -> int:
    """Convert a file; return the number of tensors written.

    Raises:
        CheckpointError: the source is damaged or no checkpoint of the release.
        WeightsError: the size of the anchor cannot be told.
        OSError: a file cannot be read or written.
    """
    trusted = [argparse.Namespace] if args.trust else []
    try:
        checkpoint = load_checkpoint_file(args.source, trusted)
    except CheckpointError as error:
        if 'argparse.Namespace' not in str(error):
            raise
        raise CheckpointError(f'{error}; --trust accepts it') from error
    state_dict = convert_release(checkpoint)
    img_size = tuple(args.img_size) if args.img_size else None
    meta = {
        'architecture': release_architecture(state_dict, args.num_heads, img_size),
        'preset': 'saip-official',
        'objectives': OBJECTIVES,
        'epoch': checkpoint.get('epoch'),
        'source_sha256': file_sha256(args.source),
    }
    buffer = BytesIO()
    torch.save({'state_dict': state_dict, 'meta': meta}, buffer)
    write_atomic(args.target, buffer.getvalue())
    return len(state_dict)


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    args = parse_args()
    print(f'{args.target}: {convert(args)} tensors')


if __name__ == '__main__':
    main()
