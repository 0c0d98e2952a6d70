"""What a step starts, compiles and waits for on a device."""

from __future__ import annotations

import warnings
from collections import Counter

import torch
from torch._dynamo.utils import counters
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from suite.counts import Kernels
from suite.device_step import Setting, Training
from suite.figures import Figure

GROUP = 'Counted on the device'
STEPS = 50


def count(setting: Setting, steps: int = STEPS) -> list[Figure]:
    """All counts of one setting."""
    training = Training(setting)
    for _ in range(setting.warm_up):
        training.step()
    return [
        *kernels(training, setting),
        recompilations(training, setting, steps),
        synchronizations(training, setting),
    ]


def kernels(training: Training, setting: Setting) -> list[Figure]:
    """Kernels of a step and their time, by the profiler; on a CPU operations."""
    name, what = f'kernels_{setting.key}', f'kernels of a step, {setting.title}'
    if not training.cuda:
        with Kernels() as mode:
            training.step()
        note = 'operations that start kernels, counted on a CPU, without those of compiled code'
        return [Figure(name, what, mode.found.total(), '', note=note, group=GROUP)]
    training.wait()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        training.step()
        training.wait()
    found = [e for e in profiler.events() if e.device_type == DeviceType.CUDA]
    times: Counter[str] = Counter()
    for event in found:
        times[event.name[:40]] += event.self_device_time_total
    longest = ', '.join(f'{key} {spent / 1e3:.1f} ms' for key, spent in times.most_common(8))
    return [
        Figure(name, what, len(found), '', goal='a third of the eager step', group=GROUP),
        Figure(
            f'kernel_time_{setting.key}',
            f'time of the kernels, {setting.title}',
            times.total() / 1e3,
            'ms',
            note=longest.replace('|', '/'),
            group=GROUP,
        ),
    ]


def recompilations(training: Training, setting: Setting, steps: int) -> Figure:
    """Graphs that are compiled once a training has warmed up."""
    name = f'recompilations_{setting.key}'
    what = f'recompilations in {steps} steps after {setting.warm_up}, {setting.title}'
    if not setting.compiled:
        return Figure.missing(name, what, 'nothing is compiled', goal='0', group=GROUP)
    before = counters['stats']['unique_graphs']
    for _ in range(steps):
        training.step()
    after = counters['stats']['unique_graphs']
    note = f'{before} graphs before'
    return Figure(name, what, after - before, '', goal='0', note=note, group=GROUP)


def synchronizations(training: Training, setting: Setting) -> Figure:
    """Waits of the host for the device in a step."""
    name, what = (
        f'synchronizations_{setting.key}',
        f'synchronizations of a step, {setting.title}',
    )
    if not training.cuda:
        return Figure.missing(name, what, 'needs a GPU', goal='0', group=GROUP)
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter('always')
            training.step()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    waits = [w for w in found if 'synchroniz' in str(w.message)]
    places = ', '.join(sorted({f'{w.filename.split("/")[-1]}:{w.lineno}' for w in waits}))
    return Figure(name, what, len(waits), '', goal='0', note=places, group=GROUP)
