"""Size, speed, memory and accuracy of one network in several forms.

Legend: B rows of a batch.
"""

from __future__ import annotations

from saip.startup import usable_cores

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from saip.checkpoint import file_sha256
from saip.datasets.progress import track
from saip.deploy.images import embedded_images
from saip.deploy.onnx_file import OnnxFile, describe
from saip.deploy.openvino_file import OpenVinoFile
from saip.deploy.retrieval import METRICS, read_retrieval_set
from saip.deploy.running import FEATURES, person_features
from saip.deploy.source import read_programs
from saip.errors import InputError

RUNTIMES = {'.onnx': 'ONNX Runtime', '.xml': 'OpenVINO'}
WARM_UP = 3
"""Runs before the first that counts."""

FASTER = 1.05
"""Ratio of medians from which one of two forms is called faster."""


class Opened(Protocol):
    """A network that can be run."""

    meta: dict[str, Any]
    size: int

    @property
    def batch(self) -> int | None:
        """Rows of the input; None for any number."""

    def run(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run one batch."""


class TorchFile:
    """A checkpoint, run by PyTorch without compilation.

    Args:
        path: of the checkpoint; of a task with two programs the one of images is run.
        threads: of PyTorch.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        program = read_programs(path)[0]
        torch.set_num_threads(threads or usable_cores())
        self.run = program.run
        self.batch = 1 if program.fixed_batch else None
        self.meta = describe(program, {'sha256': file_sha256(path)}, self.batch)
        parameters = program.network.state_dict().values()
        self.size = sum(x.numel() * x.element_size() for x in parameters)


@dataclass(frozen=True)
class Speed:
    """Latency at one number of threads and rows.

    Attributes:
        threads: of the CPU.
        batch: rows.
        median: milliseconds of a batch.
        percentile95: likewise.
    """

    threads: int
    batch: int
    median: float
    percentile95: float

    @property
    def images_per_second(self) -> float:
        """Rows per second at the median."""
        return 1000 * self.batch / self.median


@dataclass
class Row:
    """What was measured of one file.

    Attributes:
        file: its name.
        runtime: that ran it.
        int8: whether it is quantized.
        source: digest of the checkpoint that it was made of.
        megabytes: of the file; of a checkpoint its network's tensors.
        memory: megabytes that loading and running batches of one image adds to a process at its
            peak; None where the system does not tell.
        accuracy: metrics in percent; empty where the task has none here.
        speeds: latencies.
    """

    file: str
    runtime: str
    int8: bool
    source: str
    megabytes: float
    memory: float | None
    accuracy: dict[str, float]
    speeds: list[Speed] = field(default_factory=list)

    def speed(self, threads: int, batch: int) -> Speed | None:
        """The latency at these numbers; None where the file takes no such batch."""
        fits = (s for s in self.speeds if (s.threads, s.batch) == (threads, batch))
        return next(fits, None)


def open_file(path: Path, threads: int | None = None) -> Opened:
    """Open a checkpoint, an ONNX file or an OpenVINO file.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged or of another kind.
    """
    if path.suffix == '.onnx':
        return OnnxFile.read(path, threads)
    if path.suffix == '.xml':
        return OpenVinoFile(path, threads)
    return TorchFile(path, threads)


def measure(
    paths: Sequence[Path],
    batches: Sequence[int] = (1, 8),
    repeats: int = 50,
    retrieval: Path | None = None,
) -> list[Row]:
    """Measure files side by side.

    Every round runs each of them once, so that whatever else the machine does meets all alike.

    Args:
        paths: checkpoints (``.pth``, ``.safetensors``), ``.onnx`` and ``.xml``.
        batches: rows; a file with another fixed number is left out there.
        repeats: rounds.
        retrieval: persons in Market-1501 layout; None draws synthetic persons.

    Raises:
        MissingFileError: a file is missing.
        InputError: a file is damaged or of another kind, or takes no images.
    """
    opened = [open_file(path) for path in paths]  # whatever is wrong is said before any work
    for path, file in zip(paths, opened, strict=True):
        if file.meta['input']['name'] != 'images':
            raise InputError(f'{path}: takes {file.meta["input"]["name"]}, not images')
    rows = [
        Row(
            path.name,
            RUNTIMES.get(path.suffix, 'PyTorch'),
            'int8' in file.meta,
            file.meta['source'].get('sha256', ''),
            file.size / 1e6,
            peak_memory(path),
            _accuracy(file, retrieval),
        )
        for path, file in zip(paths, opened, strict=True)
    ]
    for threads in sorted({1, usable_cores()}):
        files = [open_file(path, threads) for path in paths]
        for batch in batches:
            _add_speeds(rows, files, threads, batch, repeats)
    torch.set_num_threads(usable_cores())
    return rows


def _add_speeds(
    rows: Sequence[Row], files: Sequence[Opened], threads: int, batch: int, repeats: int
) -> None:
    """Run batches of the files that take them, in turn, and note the latencies."""
    taking = [i for i, file in enumerate(files) if file.batch in (None, batch)]
    inputs = {i: _batch(files[i], batch) for i in taking}
    times: dict[int, list[float]] = {i: [] for i in taking}
    label = f'{threads} threads, batch {batch}'
    for turn in track(range(WARM_UP + repeats), WARM_UP + repeats, label):
        for i in taking:
            start = time.perf_counter()
            files[i].run(inputs[i])
            if turn >= WARM_UP:
                times[i].append(1000 * (time.perf_counter() - start))
    for i, found in times.items():
        median, late = np.percentile(found, [50, 95])
        rows[i].speeds.append(Speed(threads, batch, float(median), float(late)))


def _batch(file: Opened, rows: int) -> np.ndarray:
    """Synthetic persons at the size of a file; (rows, h, w, 3)."""
    _, height, width, _ = file.meta['input']['shape']
    return embedded_images((height, width), file.meta['input']['resize'], rows)


def _accuracy(file: Opened, retrieval: Path | None) -> dict[str, float]:
    """``mAP`` and ``Rank-1`` of files that have features of persons."""
    if file.meta['task'] not in FEATURES:
        return {}
    _, height, width, _ = file.meta['input']['shape']
    people = read_retrieval_set(retrieval, (height, width), file.meta['input']['resize'])
    return people.score(lambda x: person_features(file.run, file.meta, x))


MEMORY = """
import sys
from pathlib import Path
from saip.deploy import benchmark
from saip.deploy.libraries import require
path = Path(sys.argv[1])
require({'.onnx': 'onnxruntime', '.xml': 'openvino'}.get(path.suffix, 'torch'))
status = lambda key: next(int(x.split()[1]) for x in open('/proc/self/status') if x.startswith(key))
Path('/proc/self/clear_refs').write_text('5')
before = status('VmRSS')
file = benchmark.open_file(path, 1)
inputs = benchmark._batch(file, file.batch or 1)
for _ in range(3):
    file.run(inputs)
print(status('VmHWM') - before)
"""


def peak_memory(path: Path) -> float | None:
    """Megabytes that a file adds to a process of its own at its peak; None where unknown."""
    if not Path('/proc/self/clear_refs').exists():
        return None
    command = [sys.executable, '-W', 'ignore', '-c', MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.split()
    return int(lines[-1]) / 1000 if done.returncode == 0 and lines else None


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Sentences about each int8 file beside the one in float of its source and runtime."""
    found = []
    for row in (row for row in rows if row.int8):
        twins = (
            other
            for other in rows
            if not other.int8 and (other.source, other.runtime) == (row.source, row.runtime)
        )
        twin = next(twins, None)
        if twin is not None:
            found.append(_verdict(row, twin))
    return found


def _verdict(row: Row, twin: Row) -> str:
    """Compare an int8 file with its twin in float."""
    parts = []
    for speed in row.speeds:
        other = twin.speed(speed.threads, speed.batch)
        if other is not None:
            parts.append(
                f'{_compared(other.median / speed.median)} ({_place(speed.threads, speed.batch)})'
            )
    lost = {name: twin.accuracy[name] - row.accuracy[name] for name in row.accuracy}
    parts += [f'{name} {0.0 - points:+.1f} points' for name, points in lost.items()]
    slower = any(part.startswith('slower') for part in parts)
    worse = any(points > 0.1 for points in lost.values())
    losses = [name for name, said in (('speed', slower), ('accuracy', worse)) if said]
    verdict = f'loses {" and ".join(losses)}' if losses else 'wins'
    head = f'{row.file} against {twin.file} in {row.runtime}'
    return f'{head}: int8 {verdict}: {", ".join(parts)}'


def _compared(ratio: float) -> str:
    if ratio >= FASTER:
        return f'{ratio:.2f} times as fast'
    if ratio <= 1 / FASTER:
        return f'slower by {100 * (1 / ratio - 1):.0f} %'
    return 'as fast'


def _place(threads: int, batch: int) -> str:
    return f'{threads} thread{"s" if threads > 1 else ""}, batch {batch}'


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    keys = sorted({(s.threads, s.batch) for row in rows for s in row.speeds})
    head = ['file', 'runtime', 'MB', 'memory MB']
    for threads, batch in keys:
        head += [f'ms (95 %), {_place(threads, batch)}', 'images/s']
    head += list(METRICS)
    lines = [head, ['---'] * len(head)]
    for row in rows:
        cells = [
            f'{row.file}{" (int8)" if row.int8 else ""}',
            row.runtime,
            f'{row.megabytes:.1f}',
            '-' if row.memory is None else f'{row.memory:.0f}',
        ]
        for key in keys:
            speed = row.speed(*key)
            cells += (
                ['-', '-']
                if speed is None
                else [
                    f'{speed.median:.1f} ({speed.percentile95:.1f})',
                    f'{speed.images_per_second:.0f}',
                ]
            )
        cells += [f'{row.accuracy[m]:.1f}' if m in row.accuracy else '-' for m in METRICS]
        lines.append(cells)
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def record(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain values."""
    return [asdict(row) for row in rows]
