"""Cost of an image in a worker, against making the same views there with Pillow.

``python benchmarks/bench_loader.py [--out loader.json]``. The worker decodes a JPEG and
squeezes it to the canvas; the peer decodes it and makes all views of the preset ``saip`` one by
one. Both run in turn in this process on one thread; the figure is the ratio of the medians of
their processor time. The batched rendering on this processor is reported beside them.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

# Before torch is imported: the figure is that of one core.
os.environ['OMP_NUM_THREADS'] = '1'

import cv2
import numpy as np
import PIL
import torch
from machine import machine
from mmengine.config import Config
from PIL import Image

from saip.datasets.canvas import decode_image, to_canvas
from saip.datasets.files import write_atomic
from saip.registry import MODELS
from saip.structures import Progress

BATCH = 8
HEIGHT, WIDTH = 360, 155
PRESET = Path(__file__).resolve().parents[1] / 'configs/pretrain/_base_/methods/saip.py'


def encode_images(count: int) -> list[bytes]:
    """JPEG files about as large and as detailed as person crops of surveillance cameras."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        layers = [
            cv2.resize(rng.uniform(0, span, (n, n // 2, 3)), (WIDTH, HEIGHT), interpolation=3)
            for n, span in ((6, 160), (24, 60), (96, 30))
        ]
        buffer = BytesIO()
        Image.fromarray(np.clip(sum(layers), 0, 255).astype(np.uint8)).save(
            buffer, 'JPEG', quality=90
        )
        files.append(buffer.getvalue())
    return files


def batch_of(canvases: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """A training batch of these canvases."""
    count = len(canvases)
    return {
        'canvas': torch.stack(canvases),
        'size': torch.tensor([[HEIGHT, WIDTH]] * count),
        'key': torch.arange(count) * 7919,
    }


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call per image of the batch."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3 / BATCH


def measure(rounds: int) -> dict[str, Any]:
    """Time the three in turn; returns medians in milliseconds per image, and ratios."""
    files = encode_images(BATCH)
    recipe = Config.fromfile(PRESET).model.data_preprocessor
    device, reference = (
        MODELS.build({**recipe, 'renderer': name}) for name in ('device', 'reference')
    )
    batch = batch_of([to_canvas(decode_image(data), (320, 160)) for data in files])

    def worker() -> None:
        for data in files:
            to_canvas(decode_image(data), (320, 160))

    def peer() -> None:
        # The peer cuts from the decoded image itself: no canvas in between.
        images = [
            torch.from_numpy(np.array(Image.open(BytesIO(data)))).permute(2, 0, 1)
            for data in files
        ]
        reference({**batch, 'canvas': torch.stack(images)}, training=True)

    works = {
        'worker': worker,
        'decode': lambda: [decode_image(data) for data in files],
        'peer': peer,
        'batched_rendering': lambda: device(batch, training=True),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for step in range(rounds + 1):
        for name, work in works.items():
            for preprocessor in (device, reference):
                preprocessor.begin_step(Progress(step, 1000, step, 1000, 1000, 0.0))
            spent = milliseconds(work)
            if step:  # the first round warms up
                times[name].append(spent)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        'milliseconds_per_image': {name: round(value, 3) for name, value in median.items()},
        'peer_over_worker': round(median['peer'] / median['worker'], 1),
        'peer_over_batched_rendering': round(median['peer'] / median['batched_rendering'], 2),
        'jpeg_bytes': statistics.mean(map(len, files)),
        'rounds': rounds,
    }


def versions() -> dict[str, Any]:
    """The machine, and the libraries that are timed."""
    return {
        **machine(),
        'numpy': np.__version__,
        'pillow': PIL.__version__,
        'opencv': cv2.__version__,
    }


def main() -> int:
    """Print the figures as JSON, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    text = json.dumps({**measure(args.rounds), 'machine': versions()}, indent=2)
    if args.out is not None:
        write_atomic(args.out, f'{text}\n'.encode())
    print(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
