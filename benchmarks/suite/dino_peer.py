"""This project's DINO on a folder, as a program: trains as many steps as each line says.

    python -m suite.dino_peer IMAGES BATCH DEVICE WORKERS

Answers as ``suite.lightly_peer`` does.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader, RandomSampler

from saip.datasets.person_images import PersonImages
from suite.peers import answer
from suite.same_work import LOCAL_CROPS
from suite.training import build, model_config, progress_of, total, wrapper_of

OPTIONS = {
    'data_preprocessor.views.local_crops.number': LOCAL_CROPS,
    'backbone.drop_path_rate': 0.0,
}
"""What preset ``dino`` has otherwise: eight local crops and stochastic depth."""


def batches(folder: str, batch: int, device: str, workers: int) -> Iterator[dict[str, Any]]:
    """Images of a folder without end."""
    images = PersonImages(folder)
    loader = DataLoader(
        images,
        batch,
        sampler=RandomSampler(images, replacement=True, num_samples=10**9),
        num_workers=workers,
        pin_memory=device == 'cuda',
    )
    yield from loader


def now(device: str) -> tuple[float, float]:
    """Processor and wall-clock time."""
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.process_time(), time.perf_counter()


def main(folder: str, batch: int, device: str, workers: int) -> None:
    """Train as long as lines come."""
    MMLogger.get_instance('mmengine', log_level='WARNING')
    model = build(model_config('dino', 'vit-tiny-p16', OPTIONS), device)
    wrapper = wrapper_of(model, 'bfloat16' if device == 'cuda' else 'float32')
    data = batches(folder, batch, device, workers)

    def step(number: int) -> torch.Tensor:
        model.begin_step(progress_of(number))
        with wrapper.optim_context(model):
            prepared = model.data_preprocessor(next(data), training=True)
            loss = total(model(**prepared, mode='loss'))
        wrapper.update_params(loss)
        return loss

    loss = float(step(0).detach())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    answer(json.dumps({'parameters': trained, 'loss': loss}))
    for line in sys.stdin:
        start = now(device)
        for number in range(int(line)):
            step(number)
        pairs = zip(start, now(device), strict=True)
        answer(json.dumps([(b - a) / (int(line) * batch) for a, b in pairs]))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
