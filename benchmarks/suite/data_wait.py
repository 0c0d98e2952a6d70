"""How long a training waits for its loader."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench_loader import encode_images
from torch.utils.data import DataLoader, RandomSampler

from saip.datasets.person_images import PersonImages
from suite.device_step import Setting, Training
from suite.figures import Figure


def measure(setting: Setting, workers: int) -> Figure:
    """Share of the time between two steps in which no batch was there."""
    training = Training(setting)
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(encode_images(64)):
            (Path(folder) / f'{number}.jpg').write_bytes(data)
        images = PersonImages(folder)
        wanted = (setting.warm_up + setting.steps) * setting.batch
        sampler = RandomSampler(images, replacement=True, num_samples=wanted)
        options = dict(num_workers=workers, pin_memory=training.cuda)
        loader = iter(DataLoader(images, setting.batch, sampler=sampler, **options))
        waited = start = 0.0
        for number in range(setting.warm_up + setting.steps):
            if number == setting.warm_up:
                training.wait()
                waited, start = 0.0, time.perf_counter()
            before = time.perf_counter()
            training.data = next(loader)
            waited += time.perf_counter() - before
            training.step()
        training.wait()
    share = 100 * waited / (time.perf_counter() - start)
    return Figure(
        'data_wait',
        f'waiting for data, {workers} workers, {setting.title}',
        share,
        '% of the time',
        goal='under 5 %',
        note='64 JPEG files of 360x155 from memory',
        group='The loader',
    )
