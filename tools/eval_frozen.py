"""Score the frozen features of a checkpoint beside what they should beat.

    python tools/eval_frozen.py work_dirs/RUN/epoch_300.pth data/market1501
    python tools/eval_frozen.py BACKBONE.pth FOLDER_OF_IMAGES --json result.json
    python tools/eval_frozen.py random data/market1501
    python tools/eval_frozen.py BACKBONE.pth data/imagenet --protocol knn
    python tools/eval_frozen.py BACKBONE.pth data/lip --protocol dense --keypoints data/coco

A folder in Market-1501 layout gives Rank-1, Rank-5 and mAP across cameras; any other folder of
images gives two-view recall, which needs no labels. --protocol chooses another measure; those by
labels read class folders, ImageNet's layout, PA-100K and Market-1501 (docs/evaluation.md).
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
from pathlib import Path

from saip.checkpoint import file_sha256
from saip.datasets.files import write_atomic
from saip.datasets.labeled import has_classes
from saip.errors import InputError, one_line_errors
from saip.experiments.compared_encoders import (
    evaluate_compared_encoders,
    find_compared_encoders,
)
from saip.experiments.frozen_options import add_frozen_options, frozen_settings
from saip.experiments.labeled_eval import PROTOCOLS
from saip.experiments.protocol_options import (
    add_protocol_options,
    check_protocol_options,
    evaluate_protocol,
    leave_out,
)
from saip.experiments.table import format_labeled, format_table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Score the frozen features of a checkpoint')
    parser.add_argument(
        'checkpoint',
        metavar='CKPT',
        help='a training checkpoint, an exported backbone, random, histogram or pixels',
    )
    parser.add_argument(
        'data',
        metavar='DATA',
        help='any folder of images; a folder of class folders, or one in the layout of ImageNet, '
        'PA-100K, Market-1501 or LIP',
    )
    parser.add_argument('--config', help='pretraining config (default: the one in CKPT)')
    parser.add_argument(
        '--condition',
        type=float,
        metavar='LAMBDA',
        help='λ from 0 to 1 of an encoder that was trained with a semantic controller (SOLIDER); '
        'default: the one that its training evaluated with',
    )
    add_frozen_options(parser)
    add_protocol_options(parser)
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the results here')
    args = parser.parse_args()
    args.settings = frozen_settings(parser, args)
    check_protocol_options(args)
    if args.feature and args.checkpoint in ('histogram', 'pixels'):
        raise InputError(
            f'--feature {args.feature}: {args.checkpoint} is no network and has one feature; '
            'leave it out'
        )
    return args


@one_line_errors()
def main() -> None:
    """Evaluate, print the table, write the record."""
    args = parse_args()
    found = find_compared_encoders(args.checkpoint, args.config, args.condition)
    compared = leave_out(found, args)
    if args.protocol in (None, 'two-view', 'retrieval'):
        result = evaluate_compared_encoders(
            compared, args.data, protocol=args.protocol, **args.settings
        )
        print(format_table(result))
        if (
            args.protocol is None
            and result['protocol'] == 'two-view'
            and has_classes(args.data)
        ):
            print(f'its class folders allow --protocol {", ".join(PROTOCOLS)} as well')
    else:
        result = evaluate_protocol(compared, args)
        print(format_labeled(result))
    if args.json:
        inputs = {'checkpoint': args.checkpoint, 'data': args.data}
        if Path(args.checkpoint).is_file():
            inputs['sha256'] = file_sha256(args.checkpoint)
        record = {**inputs, 'about': compared.about, **result}
        write_atomic(args.json, f'{json.dumps(record, indent=2)}\n'.encode())


if __name__ == '__main__':
    main()
