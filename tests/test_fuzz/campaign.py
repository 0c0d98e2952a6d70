"""Thousands of damaged files for one reader, read where a crash ends nothing else."""

from __future__ import annotations

import faulthandler
import gc
import logging
import mmap
import os
import pickle
import random
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from saip.errors import InputError
from tests.test_fuzz.mutations import damage

SLOW = 1.0
"""Seconds of computing."""

STUCK = 60
"""Seconds after which one file has hung its reader."""

MEMORY = 4 << 30
"""Bytes that a reader may take beyond what the process has."""


@dataclass
class Target:
    """A file and who reads it.

    Attributes:
        file: what is damaged.
        read: reads it and what it names; a file in order raises nothing.
        kind: see :func:`tests.test_fuzz.mutations.damage`.
        seal: makes sums in damaged content right again; called every other time.
        names: what a message may name in the place of the file.
    """

    file: Path
    read: Callable[[], object]
    kind: str = 'bytes'
    seal: Callable[[bytes], bytes] | None = None
    names: tuple[str, ...] = ()


@dataclass
class Report:
    """What became of the files.

    Attributes:
        outcomes: how many were read, refused, or faults of some kind.
        faults: seed and what happened, of the first few.
        slowest: seconds of the slowest, and its seed.
    """

    outcomes: Counter = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)

    def add(self, seed: int, outcome: str, text: str, seconds: float) -> None:
        """Count one file."""
        self.outcomes[outcome] += 1
        if outcome not in ('read', 'refused') and len(self.faults) < 1000:
            self.faults.append((seed, text))
        self.slowest = max(self.slowest, (seconds, seed))


def damaged(target: Target, content: bytes, seed: int) -> bytes:
    """Content number ``seed``."""
    random_ = random.Random(seed)
    changed = damage(random_, content, target.kind)
    return target.seal(changed) if target.seal and random_.random() < 0.5 else changed


def try_one(target: Target, changed: bytes) -> tuple[str, str, float]:
    """Read damaged content: outcome, a text about a fault, seconds."""
    target.file.write_bytes(changed)
    start = time.process_time()
    try:
        target.read()
        outcome, text = 'read', ''
    except InputError as error:
        named = any(name in str(error) for name in (target.file.name, *target.names))
        outcome, text = ('refused', '') if named else ('nameless', f'{error}')
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f'{Path(where.filename).name}:{where.lineno}'
        text = f'{type(error).__name__}: {error!s:.100} ({place})'
        outcome = type(error).__name__
    seconds = time.process_time() - start
    if seconds > SLOW:
        return 'slow', f'{seconds:.2f} s {text}', seconds
    return outcome, text, seconds


def campaign(target: Target, seeds: range) -> Report:
    """Read all damaged files; the file is whole again afterwards."""
    content = target.file.read_bytes()
    target.read()
    report, now = Report(), seeds.start
    progress = mmap.mmap(-1, 8)
    try:
        while now < seeds.stop:
            results, status = _in_a_copy(target, content, range(now, seeds.stop), progress)
            for result in results:
                report.add(*result)
            now = int.from_bytes(progress[:8], 'little')
            if now < seeds.stop:
                ended = os.waitstatus_to_exitcode(status)
                name = signal.Signals(-ended).name if ended < 0 else f'exit status {ended}'
                report.add(now, 'crash', f'process ended by {name}', 0.0)
                now += 1
    finally:
        target.file.write_bytes(content)
    return report


def _in_a_copy(target: Target, content: bytes, seeds: range, progress: mmap.mmap) -> tuple:
    """Work in a copy of the process until it ends, by itself or by a crash."""
    progress[:8] = seeds.start.to_bytes(8, 'little')
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        try:
            _work(target, content, seeds, progress, writes)
        finally:
            os._exit(0)
    os.close(writes)
    results = []
    with open(reads, 'rb') as file:
        while True:
            try:
                results.append(pickle.load(file))
            except (EOFError, pickle.UnpicklingError):  # cut off by a crash
                break
    return results, os.waitpid(child, 0)[1]


def _work(
    target: Target, content: bytes, seeds: range, progress: mmap.mmap, writes: int
) -> None:
    faulthandler.disable()
    gc.freeze()  # data sets of mmengine collect garbage, among all objects of the libraries
    used = int(Path('/proc/self/statm').read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    logging.disable(logging.CRITICAL)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    with open(writes, 'wb', buffering=0) as file:
        for seed in seeds:
            signal.alarm(STUCK)
            result = try_one(target, damaged(target, content, seed))
            file.write(pickle.dumps((seed, *result)))
            progress[:8] = (seed + 1).to_bytes(8, 'little')
