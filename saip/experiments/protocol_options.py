"""Which protocol a frozen evaluation follows: options of the command line, and what they start."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import torch
from mmengine.device import get_device

from saip.errors import InputError
from saip.evaluation.features import BRANCHES
from saip.evaluation.probing import check_rates
from saip.experiments.compared_encoders import BASELINES, HISTOGRAM, PIXELS, ComparedEncoders
from saip.experiments.dense_eval import DenseData, evaluate_dense
from saip.experiments.frozen_eval import FrozenEncoder
from saip.experiments.labeled_eval import (
    PROTOCOLS,
    SEEDS,
    LabeledSettings,
    evaluate_labeled,
    open_labeled,
)
from saip.models.backbones import BaseEncoder

UNLABELED = ('two-view', 'retrieval')
ALL = (*UNLABELED, *PROTOCOLS, 'dense')
TRAINED = ('linear', 'linear-dino', 'linear-cached', 'attentive')
NO_PATCHES = (HISTOGRAM, PIXELS)


def add_protocol_options(parser: argparse._ActionsContainer) -> None:
    """Add the choice of a protocol, and what some of them take."""
    parser.add_argument(
        '--protocol',
        choices=ALL,
        help='default: retrieval for the layout of Market-1501, two-view for any other folder',
    )
    parser.add_argument(
        '--epochs', type=int, help=f'of {", ".join(TRAINED)} (default: the published ones)'
    )
    parser.add_argument(
        '--rates',
        type=float,
        nargs='+',
        metavar='LR',
        help='learning rates per 256 images of the same, trained side by side',
    )
    parser.add_argument(
        '--seeds', type=int, help=f'of lowshot: draws of the labels (default: {SEEDS})'
    )
    parser.add_argument(
        '--keypoints',
        metavar='COCO',
        help='of dense: a folder in the layout of COCO; DATA is one in the layout of LIP',
    )
    parser.add_argument(
        '--no-baselines',
        action='store_true',
        help='leave out the rows that need no training, which cost as much as the others',
    )


def check_protocol_options(args: argparse.Namespace) -> None:
    """Refuse options that the protocol does not read.

    Raises:
        InputError: an option is out of its range, or belongs to another protocol.
    """
    if args.protocol not in TRAINED and (args.epochs is not None or args.rates is not None):
        raise InputError(f'--epochs and --rates are for --protocol {", ".join(TRAINED)}')
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f'--epochs {args.epochs}: at least 1')
    if args.rates is not None:
        check_rates(args.rates)
    if args.protocol != 'lowshot' and args.seeds is not None:
        raise InputError('--seeds is for --protocol lowshot')
    if args.seeds is not None and args.seeds < 1:
        raise InputError(f'--seeds {args.seeds}: at least 1')
    if (args.keypoints is not None) is not (args.protocol == 'dense'):
        raise InputError('--keypoints COCO and --protocol dense go together')
    if args.holdout and args.protocol not in (None, 'two-view'):
        raise InputError(
            f'--holdout is for unlabeled images, not for --protocol {args.protocol}'
        )
    if args.no_baselines and args.checkpoint in ('random', 'histogram', 'pixels'):
        raise InputError(f'--no-baselines leaves nothing of {args.checkpoint}')


def leave_out(compared: ComparedEncoders, args: argparse.Namespace) -> ComparedEncoders:
    """Leave out what is not asked for, what the protocol cannot read, and what would be the same.

    Raises:
        InputError: nothing is left.
    """
    left_out = BASELINES if args.no_baselines else ()
    if args.protocol in ('attentive', 'dense'):
        left_out = (*left_out, *NO_PATCHES)
    if _are_equal(*(compared.encoders.get(name) for name in BRANCHES)):
        print('expert: has the weights of student, and no row of its own')
        left_out = (*left_out, 'expert')
    encoders = {name: one for name, one in compared.encoders.items() if name not in left_out}
    if not encoders:
        raise InputError(
            f'--protocol {args.protocol} reads patch tokens, and {args.checkpoint} has none'
        )
    return replace(compared, encoders=encoders)


def _are_equal(first: FrozenEncoder | None, other: FrozenEncoder | None) -> bool:
    """Whether both are encoders with the same weights, as those of a training with CAE."""
    if not isinstance(first, BaseEncoder) or not isinstance(other, BaseEncoder):
        return False
    weights = other.state_dict()
    return all(torch.equal(value, weights[key]) for key, value in first.state_dict().items())


def evaluate_protocol(compared: ComparedEncoders, args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate by labels or by dense annotations.

    Raises:
        FileNotFoundError: there is no such set.
        ValueError: the set cannot be used, or features are not finite.
    """
    stated = {key: compared.about[key] for key in ('condition',) if key in compared.about}
    if args.protocol == 'dense':
        return {**stated, **_dense(compared, args)}
    settings = LabeledSettings(
        size=compared.size,
        feature=args.feature or compared.feature,
        batch_size=args.batch_size,
        num_workers=args.workers,
        device=args.device,
        epochs=args.epochs,
        rates=None if args.rates is None else check_rates(args.rates),
        seeds=args.seeds or SEEDS,
    )
    labeled = open_labeled(args.data)
    found = evaluate_labeled(
        compared.encoders, labeled, compared.preprocessor, args.protocol, settings
    )
    return {**stated, **found}


def _dense(compared: ComparedEncoders, args: argparse.Namespace) -> dict[str, Any]:
    """Body parts and keypoints, in the same form as the other protocols."""
    data = DenseData(args.data, args.keypoints)
    rows, images = {}, 0
    for name, encoder in compared.encoders.items():
        scores = evaluate_dense(
            encoder,
            data,
            compared.preprocessor,
            compared.size,
            args.device or get_device(),
            args.workers,
        )
        rows[name] = scores.metrics()
        images = len(scores.pixels)
    return {
        'protocol': 'dense',
        'feature': 'patch tokens',
        'tested': images,
        'rows': rows,
    }
