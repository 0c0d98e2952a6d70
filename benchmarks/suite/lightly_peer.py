"""DINO by lightly-train, as a program of its environment: trains as many steps as each line says.

    PYTHONPATH=benchmarks PYTHON -m suite.lightly_peer IMAGES OUT BATCH DEVICE WORKERS

First answers with the parameters that it trains and the loss of its first step, then to every
line with processor seconds and wall-clock seconds of an image. It imports nothing of this project
but what needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightly_train
import torch
from lightly_train._methods.dino.dino import DINO

from suite.peers import answer
from suite.same_work import AREA, LOCAL_AREA, LOCAL_CROPS, LOCAL_SIZE, PROTOTYPES, SIZE

NO_END = 10**6


class Waiting:
    """Stops a training after every number of steps that it was asked for."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.left = 1
        self.asked = 1
        self.start = self.now()
        self.described = False

    def now(self) -> tuple[float, float]:
        """Processor and wall-clock time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.process_time(), time.perf_counter()

    def after_step(self, method: Any, loss: Any) -> None:
        """Answer once the steps are made, and wait for the next line."""
        self.left -= 1
        if self.left:
            return
        spent = [
            (b - a) / (self.asked * self.batch)
            for a, b in zip(self.start, self.now(), strict=True)
        ]
        answer(json.dumps(spent if self.described else describe(method, loss)))
        self.described = True
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # what ends it otherwise is a checkpoint
        self.asked = self.left = int(line)
        self.start = self.now()


def describe(method: Any, outputs: Any) -> dict[str, float]:
    """The same work: parameters and first loss."""
    trained = [p for p in method.parameters() if p.requires_grad]
    student = [method.student_embedding_model, method.student_projection_head]
    own = {id(p) for module in student for p in module.parameters()}
    loss = outputs['loss'] if isinstance(outputs, dict) else outputs
    return {
        'parameters': sum(p.numel() for p in trained if id(p) in own),
        'loss': float(loss),
    }


def main(images: Path, out: Path, batch: int, device: str, workers: int) -> None:
    """Train until nothing more is asked for."""
    waiting = Waiting(batch)
    usual = DINO.on_train_batch_end

    def after(self: Any, outputs: Any, data: Any, number: int) -> None:
        usual(self, outputs, data, number)
        waiting.after_step(self, outputs)

    DINO.on_train_batch_end = after
    lightly_train.pretrain(
        out=out,
        data=images,
        model='timm/vit_tiny_patch16_224',
        model_args={'img_size': SIZE},
        method='dino',
        method_args={'output_dim': PROTOTYPES},
        epochs=NO_END,
        batch_size=batch,
        num_workers=workers,
        devices=1,
        accelerator='gpu' if device == 'cuda' else 'cpu',
        precision='bf16-mixed' if device == 'cuda' else '32-true',
        optim='adamw',
        transform_args={
            'image_size': SIZE,
            'random_resize': {'min_scale': AREA[0], 'max_scale': AREA[1]},
            'local_view': {
                'num_views': LOCAL_CROPS,
                'view_size': LOCAL_SIZE,
                'random_resize': {'min_scale': LOCAL_AREA[0], 'max_scale': LOCAL_AREA[1]},
            },
        },
        callbacks={'model_checkpoint': None},
        loggers={'tensorboard': None},
    )


if __name__ == '__main__':
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
