r"""Draw where encoders look: one at several input sizes, or several beside each other.

A ViT's image shows the attention of its image token. Of other encoders one checkpoint shows how
similar each cell of the last map is to the image token, and several show the similarity of the
patches to their mean.

python tools/visualization/draw_attention.py CKPT person1.jpg person2.jpg --out attention.png
python tools/visualization/draw_attention.py SAIP=CKPT person.jpg --crowd crowd.jpg \
    --against DINO=CKPT MAE=CKPT --out attention.png
python tools/visualization/draw_attention.py SAIP=CKPT --against DINO=CKPT --synthetic \
    --out attention.png

Several checkpoints are the rows of the paper's Figures 1 and 5. Where masks of the people are
known, the share of each map that falls on them is written beside the image as JSON and Markdown.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from saip.checkpoint import load_encoder
from saip.datasets.canvas import decode_image
from saip.datasets.files import write_atomic
from saip.errors import InputError, one_line_errors
from saip.visualization.attention import draw_attention, scaled_size
from saip.visualization.attention_comparison import (
    Column,
    Row,
    Subject,
    compare_attention,
    make_columns,
)
from saip.visualization.attention_sheet import draw_comparison, format_record, record
from saip.visualization.known_people import draw_crowds, draw_persons
from saip.visualization.png import check_png, write_png

SYNTHETIC = 16
CHECKPOINTS = ('.pth', '.safetensors')
CROWD_WIDTH = 1.25
"""Width of a synthetic crowd over its height."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw where encoders look')
    parser.add_argument(
        'checkpoint', help='training checkpoint or exported backbone, FILE or NAME=FILE'
    )
    parser.add_argument('images', type=Path, nargs='*', help='of one person each')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument(
        '--scales', type=float, nargs='+', default=[1.0, 1.5], help='of the input size'
    )
    parser.add_argument(
        '--which',
        choices=('student', 'expert'),
        default='student',
        help='of all checkpoints: the trained encoder (default) or its moving average',
    )
    parser.add_argument(
        '--against', nargs='+', default=[], metavar='CKPT', help='further rows, in this order'
    )
    parser.add_argument(
        '--crowd', type=Path, nargs='+', default=[], metavar='IMAGE', help='of several people'
    )
    parser.add_argument(
        '--masks',
        type=Path,
        nargs='+',
        default=[],
        metavar='PNG',
        help='where the people are (not 0), one for each image and then each crowd',
    )
    parser.add_argument(
        '--synthetic',
        type=int,
        nargs='?',
        const=SYNTHETIC,
        metavar='N',
        help=f'N synthetic persons and crowds with known masks (default: {SYNTHETIC}); one of '
        'each is drawn, all are measured',
    )
    args = parser.parse_args()
    _check(args)
    return args


def _check(args: argparse.Namespace) -> None:
    """Compare the flags with each other."""
    check_png('--out', args.out)
    if min(args.scales) <= 0:
        raise InputError(f'--scales {min(args.scales):g}: scales are above 0')
    given = [*args.images, *args.crowd]
    for path in given:
        if path.suffix in CHECKPOINTS:
            raise InputError(
                f'{path}: a checkpoint in the place of an image; checkpoints after the first one '
                f'follow --against, as in --against {path}'
            )
    if args.synthetic is not None and (given or args.masks):
        raise InputError('--synthetic brings images and masks of its own; leave others out')
    if args.synthetic is not None and args.synthetic < 1:
        raise InputError(f'--synthetic {args.synthetic}: at least one image is needed')
    if args.synthetic is None and not given:
        raise InputError('images of persons, --crowd or --synthetic: one of them is needed')
    if args.masks and len(args.masks) != len(given):
        raise InputError(
            f'--masks: {len(args.masks)} for {len(given)} images; one for each image, then one '
            'for each of --crowd'
        )


@one_line_errors()
def main() -> None:
    """Draw."""
    args = parse_args()
    if not (args.against or args.crowd or args.masks or args.synthetic):
        encoder, meta = load_encoder(_split(args.checkpoint)[1], args.which)
        images = [Image.fromarray(decode_image(path)) for path in args.images]
        _save(args.out, draw_attention(encoder, images, meta['statistics'], args.scales))
        return
    rows = load_rows([args.checkpoint, *args.against], args.which)
    columns = find_columns(args, rows)
    compared = compare_attention(rows, columns)
    _save(args.out, draw_comparison(rows, columns, compared))
    if any(area is not None for area in compared.areas):
        found = record(rows, columns, compared)
        table = format_record(found)
        write_atomic(args.out.with_suffix('.json'), json.dumps(found, indent=1).encode())
        write_atomic(args.out.with_suffix('.md'), table.encode())
        print(f'{args.out.with_suffix(".json")}\n{args.out.with_suffix(".md")}\n\n{table}')


def load_rows(checkpoints: list[str], which: str) -> list[Row]:
    """Load the encoders; two files of one name are told apart by their folders.

    Raises:
        InputError: two rows have one name.
    """
    split = [_split(text) for text in checkpoints]
    stems = [path.stem for _, path in split]
    names = []
    for given, path in split:
        unique = stems.count(path.stem) == 1
        own = path.stem if unique else f'{path.resolve().parent.name}/{path.stem}'
        names.append(given or own)
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f'{", ".join(checkpoints)}: {names.count(name)} rows would be called {name}; give '
                'each checkpoint a name of its own, NAME=FILE'
            )
    rows = []
    for (given, path), name in zip(split, names, strict=True):
        encoder, meta = load_encoder(path, which)
        about = {'which': meta['which'], 'checkpoint': str(path)}
        if 'condition' in meta:  # of an encoder that was trained with a controller
            about['condition'] = meta['condition']
            name += '' if given else f', λ = {meta["condition"]:g}'
        rows.append(Row(name, encoder, meta['statistics'], about))
    return rows


def _split(text: str) -> tuple[str, Path]:
    """NAME=FILE to both; the name of a plain FILE is empty."""
    name, equals, file = text.partition('=')
    return (name, Path(file)) if equals and not Path(text).exists() else ('', Path(text))


def find_columns(args: argparse.Namespace, rows: list[Row]) -> list[Column]:
    """The images of the command line, or synthetic ones."""
    if args.synthetic is not None:
        encoder = rows[0].encoder
        height, width = scaled_size(encoder, max(1.0, *args.scales))
        persons = draw_persons(args.synthetic, (height, width))
        size = (encoder.img_size[0], round(CROWD_WIDTH * encoder.img_size[0]))
        crowds = draw_crowds(args.synthetic, size)
        titled = [('synthetic person', persons)], [('synthetic crowd', crowds)]
        return make_columns(rows, *titled, args.scales)
    paths = [*args.images, *args.crowd]
    masks = args.masks or [None] * len(paths)
    subjects = [[_read(path, mask)] for path, mask in zip(paths, masks, strict=True)]
    titles = [path.name for path in paths]
    count = len(args.images)
    pairs = list(zip(titles, subjects, strict=True))
    return make_columns(rows, pairs[:count], pairs[count:], args.scales)


def _read(path: Path, mask_path: Path | None) -> Subject:
    image = Image.fromarray(decode_image(path))
    if mask_path is None:
        return Subject(image)
    # By Pillow and not by the policy for photographs, which would change small values.
    with Image.open(mask_path) as opened:
        mask = np.array(opened.convert('L' if opened.mode != 'P' else 'P')) > 0
    if mask.shape[::-1] != image.size:
        raise InputError(
            f'{mask_path}: {mask.shape[1]}x{mask.shape[0]} pixels, but {path} has '
            f'{image.width}x{image.height}'
        )
    if not mask.any():
        raise InputError(f'{mask_path}: all pixels are 0, so it shows no person')
    return Subject(image, mask)


def _save(path: Path, image: Image.Image) -> None:
    write_png(path, image)
    print(path)


if __name__ == '__main__':
    main()
