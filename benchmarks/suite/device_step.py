"""Speed, share of the views and memory of a step on a device."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from suite.figures import Figure
from suite.training import build, images, model_config, progress_of, total, wrapper_of

GIB = 2**30


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        encoder: see :class:`suite.sizes.Sizes`.
        device: ``cuda`` or ``cpu``.
        batch: images a step.
        compiled: whether the model is asked to compile its blocks; None where it takes no such
            option.
        warm_up: steps before those that count: kernels are made ready for every size of a view.
        steps: that count.
    """

    encoder: str
    device: str
    batch: int
    compiled: bool | None
    warm_up: int
    steps: int

    @property
    def title(self) -> str:
        """In words."""
        how = {True: ', compiled', False: ', not compiled', None: ''}[self.compiled]
        return f'{self.encoder}, {self.batch} images a step{how}'

    @property
    def key(self) -> str:
        """For names of figures."""
        return f'{self.encoder}_{self.batch}{"_compiled" if self.compiled else ""}'


class Training:
    """A model in training on one batch, in bfloat16.

    Attributes:
        number: of the next step.
    """

    def __init__(self, setting: Setting) -> None:
        options = {} if setting.compiled is None else {'compile': setting.compiled}
        cfg = model_config('saip', setting.encoder, options)
        self.cuda = setting.device == 'cuda'
        self.model = build(cfg, setting.device)
        self.wrapper = wrapper_of(self.model, 'bfloat16')
        self.data = images(setting.batch, pinned=self.cuda)
        self.number = 0

    def step(self, marks: list[Any] | None = None) -> None:
        """One step; with ``marks``, the time before and after its views is noted."""
        model = self.model
        model.begin_step(progress_of(self.number))
        self.number += 1
        self.mark(marks)
        with self.wrapper.optim_context(model):
            prepared = model.data_preprocessor(self.data, training=True)
            self.mark(marks)
            losses = model(**prepared, mode='loss')
        self.wrapper.update_params(total(losses))
        self.mark(marks)

    def mark(self, marks: list[Any] | None) -> None:
        """Note the time on the device, without a wait."""
        if marks is None:
            return
        if not self.cuda:
            marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        marks.append(event)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize()

    def share_of_views(self, steps: int) -> float:
        """Median share of the views' time in a step, in percent."""
        shares = []
        for _ in range(steps):
            marks: list[Any] = []
            self.step(marks)
            self.wait()
            views, rest = (self.between(a, b) for a, b in pairwise(marks))
            shares.append(100 * views / (views + rest))
        return statistics.median(shares)

    def between(self, first: Any, second: Any) -> float:
        """Time between two marks."""
        return first.elapsed_time(second) if self.cuda else second - first


def speed(setting: Setting) -> list[Figure]:
    """Images a second in a row of steps without a wait, and what goes with it."""
    training = Training(setting)
    for _ in range(setting.warm_up):
        training.step()
    training.wait()
    if training.cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(setting.steps):
        training.step()
    issued = time.perf_counter() - start
    training.wait()
    spent = time.perf_counter() - start
    rate = setting.batch * setting.steps / spent
    host = 100 * issued / spent
    group = f'{setting.title}, bfloat16'
    goal_of = {('vit-tiny-p16', 256): ('2,500 on an H100', '22 GiB')}
    goals = goal_of.get((setting.encoder, setting.batch), ('', ''))
    figures = [
        Figure(f'speed_{setting.key}', 'speed', rate, 'images/s', goal=goals[0], group=group),
        Figure(
            f'host_{setting.key}',
            'time that the host needs to issue it',
            host,
            '% of the step',
            note='near 100 %: the device waits for the host',
            group=group,
        ),
        Figure(
            f'views_{setting.key}',
            'views',
            training.share_of_views(min(setting.steps, 10)),
            '% of the step',
            goal='at most 10 %',
            group=group,
        ),
    ]
    if training.cuda:
        peak = torch.cuda.max_memory_allocated() / GIB
        figures.append(
            Figure(
                f'peak_{setting.key}', 'peak memory', peak, 'GiB', goal=goals[1], group=group
            )
        )
    return figures
