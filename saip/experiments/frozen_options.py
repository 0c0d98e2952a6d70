"""Command-line options of the tools that evaluate frozen features."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from saip.errors import InputError
from saip.models.selfsup.predicting import FEATURES

NAMES = ('holdout', 'feature', 'batch_size', 'workers', 'device')


def add_frozen_options(parser: argparse._ActionsContainer) -> None:
    """Add how images are chosen, read and encoded."""
    parser.add_argument(
        '--holdout',
        type=float,
        default=0,
        help='of unlabeled images take only those that a training with this holdout leaves '
        'out: a share below 1, or their number (default: all images)',
    )
    parser.add_argument(
        '--feature',
        choices=FEATURES,
        help='what is read of a network (default: model.feature of its training)',
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=2, help='processes that read images')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 (default: a GPU if there is one)')


def frozen_settings(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> dict[str, Any]:
    """Check these options; return the arguments of ``evaluate_compared_encoders``.

    Raises:
        InputError: one of them is out of its range.
    """
    check_holdout(args.holdout)
    check_device(parser, args.device)
    if args.batch_size < 1 or args.workers < 0:
        parser.error('--batch-size must be at least 1, --workers at least 0')
    return dict(
        holdout=args.holdout,
        feature=args.feature,
        batch_size=args.batch_size,
        num_workers=args.workers,
        device=args.device,
    )


def check_holdout(holdout: float) -> None:
    """Refuse what is neither a share nor a number of images.

    Raises:
        InputError: it is negative, or neither below 1 nor whole.
    """
    if not (0 <= holdout < 1 or (holdout >= 1 and holdout.is_integer())):
        raise InputError(
            f'--holdout {holdout:g}: a share below 1 or a number of images is needed, such as '
            '0.1 or 1000'
        )


def check_device(parser: argparse.ArgumentParser, device: str | None) -> None:
    """End with a message where there is no such device; None is right."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # both, by kind of device and build
        parser.error(f'--device {device}: {str(error).splitlines()[0]}')
