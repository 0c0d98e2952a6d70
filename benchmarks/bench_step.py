"""A whole pretraining step: images per second, bfloat16 against float32, and its parts.

``python benchmarks/bench_step.py [--encoders vit-tiny-p16 starnet-s3] [--batch 128] [--out F]``

The step is the one of the preset: views, forward, backward, clipping, AdamW, expert. Both
precisions run in turn in this process, on the same images, several steps at a time without a
wait in between, as in a training; the figure is the ratio of their medians. Beside it stand the
time that the host needs to issue a step (where it equals the step, the device waits for it), the
latency of the encoder for one image (evaluation, float32), the
parts of a bfloat16 step with a wait after each step, the memory that a step needs at its peak,
and the operations per second by count (``tools/analysis_tools/get_flops.py``).
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import machine
from mmengine.logging import MMLogger
from suite.training import build, images, model_config, wrapper_of

from saip.analysis.step_flops import step_cost
from saip.datasets.files import write_atomic
from saip.structures import Progress

PARTS = ('views', 'forward', 'backward', 'update')
PRECISIONS = ('bfloat16', 'float32')


class Clock:
    """Times the parts of a step where they are computed, without a wait in between."""

    def __init__(self) -> None:
        self.marks: list[Any] = []

    def mark(self) -> None:
        """One part ends here, the next begins."""
        if not torch.cuda.is_available():
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def milliseconds(self) -> list[float]:
        """Time between the marks."""
        pairs = list(zip(self.marks[:-1], self.marks[1:], strict=True))
        if not torch.cuda.is_available():
            return [1e3 * (end - start) for start, end in pairs]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in pairs]


def build_both(preset: str, encoder: str, device: str) -> tuple[Any, dict[str, Any], Any]:
    """Model, an optimizer wrapper for each precision, and the model's configuration."""
    cfg = model_config(preset, encoder)
    model = build(cfg, device)
    return model, {precision: wrapper_of(model, precision) for precision in PRECISIONS}, cfg


def step(model: Any, wrapper: Any, data: dict[str, torch.Tensor], clock: Clock) -> None:
    """One training step, as the Runner does it."""
    clock.mark()
    with wrapper.optim_context(model):
        prepared = model.data_preprocessor(data, training=True)
        clock.mark()
        losses = model(**prepared, mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    clock.mark()
    wrapper.backward(wrapper.scale_loss(total))
    clock.mark()
    wrapper.step()
    wrapper.zero_grad()
    model.after_micro_batch()
    clock.mark()


def run(model: Any, wrapper: Any, data: dict[str, torch.Tensor], steps: int) -> list[float]:
    """Milliseconds of a step, and those of them that the host needs to issue it."""
    cuda = torch.cuda.is_available()
    start = time.perf_counter()
    for number in range(steps):
        model.begin_step(Progress.at(number, steps, steps))
        step(model, wrapper, data, Clock())
    issued = time.perf_counter()
    if cuda:
        torch.cuda.synchronize()
    return [1e3 * (end - start) / steps for end in (time.perf_counter(), issued)]


@torch.no_grad()
def latency(encoder: Any, size: tuple[int, int], device: str, repeats: int = 30) -> float:
    """Median milliseconds to encode one image in float32."""
    encoder.eval()
    image = torch.randn(1, 3, *size, device=device)
    spent = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        encoder.encode(image).require_image_token().cpu()
        spent.append(1e3 * (time.perf_counter() - start))
    encoder.train()
    return statistics.median(spent[3:])


def measure(preset: str, encoder: str, batch: int, rounds: int) -> dict[str, Any]:
    """Time both precisions in turn; medians over the rounds."""
    cuda = torch.cuda.is_available()
    model, wrappers, cfg = build_both(preset, encoder, 'cuda' if cuda else 'cpu')
    data = images(batch, cuda)
    # The scales of the views are drawn per step, and kernels are prepared for each.
    steps, warm_up = (10, 3) if cuda else (1, 1)
    times: dict[str, list[list[float]]] = {name: [] for name in PRECISIONS}
    peak = dict.fromkeys(PRECISIONS, 0)
    for number in range(warm_up + rounds):
        for precision, wrapper in wrappers.items():
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            spent = run(model, wrapper, data, steps)
            if number >= warm_up:
                times[precision].append(spent)
            if cuda:
                peak[precision] = max(peak[precision], torch.cuda.max_memory_allocated())
    parts = []
    for number in range(steps):
        model.begin_step(Progress.at(number, steps, steps))
        clock = Clock()
        step(model, wrappers['bfloat16'], data, clock)
        parts.append(clock.milliseconds())
    whole = {name: statistics.median(row[0] for row in rows) for name, rows in times.items()}
    gflop = sum(step_cost(cfg).flops.values()) / 1e9
    return {
        'encoder': encoder,
        'preset': preset,
        'batch': batch,
        'milliseconds': {name: round(value, 2) for name, value in whole.items()},
        'host_milliseconds': round(statistics.median(row[1] for row in times['bfloat16']), 2),
        'float32_over_bfloat16': round(whole['float32'] / whole['bfloat16'], 2),
        'images_per_second': round(batch / whole['bfloat16'] * 1e3, 1),
        'tflops_per_second': round(gflop * batch / whole['bfloat16'], 1),
        'parts_milliseconds': {
            part: round(statistics.median(column), 2)
            for part, column in zip(PARTS, zip(*parts, strict=True), strict=True)
        },
        'latency_milliseconds': round(
            latency(model.backbone, model.data_preprocessor.size, 'cuda' if cuda else 'cpu'), 2
        ),
        'peak_gib': {name: round(value / 2**30, 2) for name, value in peak.items()},
        'rounds': rounds,
    }


def main() -> int:
    """Print the figures as JSON, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--encoders', nargs='+', default=['vit-tiny-p16'], metavar='NAME')
    parser.add_argument('--preset', default='saip')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # not a line for every weight
    figures = []
    for encoder in args.encoders:
        figures.append(measure(args.preset, encoder, args.batch, args.rounds))
        print(json.dumps(figures[-1], indent=2), flush=True)
        if args.out is not None:
            text = json.dumps({'machine': machine(), 'figures': figures}, indent=2)
            write_atomic(args.out, f'{text}\n'.encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
