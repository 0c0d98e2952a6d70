"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sizes:
    """Amounts of work.

    Attributes:
        encoder: a fragment of ``configs/_base_/backbones``, or ``tiny``.
        encoders: those that are compared with each other.
        batch: images of a step.
        rounds: of peers in turn.
        curve_rounds: of the points of a curve, and of processes.
        batches: points of a curve, as the following.
        local_crops: numbers of views of an image.
        heights: of an image twice as high as wide.
        prototypes: of the matching objective.
        shared_encoder: of the step beside a busy process, as the following.
        shared_batch: images.
        shared_steps: between two looks at the clock.
        process_steps: likewise, of one process and of two.
        process_batch: images of each of them.
        lightly_batch: images of a step of DINO, against lightly-train.
        lightly_steps: between two looks at the clock.
        lightly: environment with lightly-train; None for none.
    """

    encoder: str = 'vit-tiny-p16'
    encoders: tuple[str, ...] = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
    batch: int = 4
    rounds: int = 4
    curve_rounds: int = 2
    batches: tuple[int, ...] = (1, 2, 4)
    local_crops: tuple[int, ...] = (2, 6, 10)
    heights: tuple[int, ...] = (128, 256, 384)
    prototypes: tuple[int, ...] = (1024, 16384, 65536)
    shared_encoder: str = 'patch-resnet'
    shared_batch: int = 32
    shared_steps: int = 2
    process_steps: int = 2
    process_batch: int = 16
    lightly_batch: int = 8
    lightly_steps: int = 2
    lightly: Path | None = None


FULL = Sizes()
QUICK = Sizes(
    encoder='tiny',
    encoders=('tiny',),
    batch=2,
    rounds=1,
    curve_rounds=1,
    batches=(2, 3),
    local_crops=(1, 2),
    heights=(128, 256),
    prototypes=(32, 64),
    shared_encoder='tiny',
    shared_batch=2,
    shared_steps=1,
    process_steps=1,
    process_batch=2,
    lightly_batch=2,
    lightly_steps=1,
)
