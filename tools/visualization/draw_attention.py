"""Draw where an encoder looks, at several input sizes.

A ViT's image shows the attention of its image token, other encoders' how similar each cell of
the last map is to the image token.

python tools/visualization/draw_attention.py CKPT person1.jpg person2.jpg --out attention.png
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

from PIL import Image

from saip.checkpoint import load_encoder
from saip.datasets.canvas import decode_image
from saip.datasets.files import write_atomic
from saip.errors import InputError, one_line_errors
from saip.visualization.attention import draw_attention


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw where the image token looks')
    parser.add_argument(
        'checkpoint', type=Path, help='training checkpoint or exported backbone'
    )
    parser.add_argument('images', type=Path, nargs='+')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument(
        '--scales', type=float, nargs='+', default=[1.0, 1.5], help='of the input size'
    )
    parser.add_argument('--which', choices=('student', 'expert'), default='student')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Draw."""
    args = parse_args()
    if min(args.scales) <= 0:
        raise InputError(f'--scales {min(args.scales):g}: scales are above 0')
    images = [Image.fromarray(decode_image(path)) for path in args.images]
    encoder, meta = load_encoder(args.checkpoint, args.which)
    drawn = draw_attention(encoder, images, meta['statistics'], args.scales)
    buffer = BytesIO()
    drawn.save(buffer, 'PNG')
    write_atomic(args.out, buffer.getvalue())
    print(args.out)


if __name__ == '__main__':
    main()
