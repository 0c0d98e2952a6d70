"""Stop a training again and again and count what is lost: kill -9, SIGTERM, SIGUSR1.

    python benchmarks/reliability.py --kills 100 --stops 40

The training is the tests' line through a few points, whose steps are slowed down so that every
phase of a run is hit: before the first step, within an epoch, while a checkpoint is written. Each
start is a process of its own that continues what the last one left. Exit status 1 if a promise of
docs/operations.md is broken.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported

import torch
from mmengine.config import Config

from saip.engine import launch
from saip.engine.resume import newest_checkpoint
from saip.errors import one_line_errors
from saip.experiments.table import align

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests import toy_run

KEEP = 2
EPOCHS = 40
PAUSE = 0.004


def slow_down() -> None:
    """Let every sample take a while, and the first leave a mark that training has begun."""
    read = toy_run.ToyPoints.__getitem__

    def slowly(self: toy_run.ToyPoints, index: int) -> dict:
        Path(os.environ['BEGUN']).touch()
        time.sleep(PAUSE)
        return read(self, index)

    toy_run.ToyPoints.__getitem__ = slowly


def write_config(folder: Path) -> str:
    """A training with momentum, a schedule by steps and accumulated gradients."""
    cfg = Config(toy_run.config(str(folder / 'work')))
    cosine = dict(type='CosineAnnealingLR', by_epoch=True, T_max=EPOCHS, end=EPOCHS)
    cfg.merge_from_dict(
        {
            'train_cfg.max_epochs': EPOCHS,
            'train_cfg.val_interval': 5,
            'train_dataloader.batch_size': 1,
            'optim_wrapper.optimizer.momentum': 0.9,
            'optim_wrapper.optimizer.lr': 0.01,
            'optim_wrapper.accumulative_counts': 3,
            'default_hooks.checkpoint.max_keep_ckpts': KEEP,
            'param_scheduler': [cosine | dict(convert_to_iter_based=True)],
        }
    )
    path = folder / 'line.py'
    cfg.dump(path)
    return str(path)


def start(config: str) -> int:
    """Continue the training in a process of its own; return its id."""
    begun = Path(config).with_name('begun')
    begun.unlink(missing_ok=True)
    os.environ['BEGUN'] = str(begun)
    child = os.fork()
    if child:
        return child
    with open(os.devnull, 'w') as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    status = 99
    with contextlib.suppress(BaseException):
        try:
            with one_line_errors():
                launch.train(config, resume='auto')
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
    os._exit(status)


def stopped(config: str, number: int, name: signal.Signals) -> Iterator[int]:
    """Continue and stop a training ``number`` times; yield the exit statuses."""
    work = Path(config).parent / 'work'
    for trial in range(number):
        if trial and finished(work):
            shutil.rmtree(work)
        child = start(config)
        # Every fourth is stopped while it begins, the others while it trains.
        while trial % 4 and not Path(config).with_name('begun').exists():
            time.sleep(0.01)
        time.sleep(random.Random(trial).uniform(0.0, 0.8))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, name)
        yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finished(work: Path) -> bool:
    """Whether a run has ended."""
    return (work / f'epoch_{EPOCHS}.pth').is_file()


def numbered(work: Path) -> list[Path]:
    """Checkpoints that a run can be resumed from."""
    return [*work.glob('epoch_*.pth'), *work.glob('iter_*.pth')]


@dataclass(frozen=True)
class Outcome:
    """What many stops of a kind did to a training.

    Attributes:
        signal: that stopped it.
        stops: their number.
        lost: how often there were checkpoints, and none to continue from.
        most: number of checkpoints that lay there at the same time.
        left: number in the end.
        others: starts that ended otherwise than by the signal, saved, or done.
        same: whether the weights are those of a training that was never stopped.
    """

    signal: str
    stops: int
    lost: int
    most: int
    left: int
    others: int
    same: bool

    def row(self) -> list[str]:
        """Cells of the table."""
        numbers = (self.stops, self.lost, self.most, self.left, self.others)
        return [self.signal, *map(str, numbers), 'equal' if self.same else 'DIFFERENT']

    def broken(self) -> list[str]:
        """Promises that were not kept."""
        found = {
            f'{self.lost} times nothing to resume': self.lost > 0,
            # One is removed after its successor is there.
            f'{self.most} checkpoints at once, where {KEEP} are kept': self.most > KEEP + 1,
            f'{self.left} checkpoints left, where {KEEP} are kept': self.left > KEEP,
            f'{self.others} unknown exit statuses': self.others > 0,
            'other weights in the end': not self.same,
        }
        return [f'{self.signal}: {text}' for text, is_broken in found.items() if is_broken]


HEADER = [
    *('signal', 'stops', 'none to resume', 'most files', 'files left', 'other ends', 'weights'),
]


def trial(folder: Path, number: int, name: signal.Signals, whole: dict) -> Outcome:
    """Stop a training so many times by a signal, and let it end."""
    config = write_config(folder)
    work = folder / 'work'
    lost = most = others = 0
    for status in stopped(config, number, name):
        if numbered(work):
            most = max(most, len(numbered(work)))
            try:
                newest_checkpoint(work)
            except ValueError:
                lost += 1
        expected = (0, -signal.SIGKILL) if name is signal.SIGKILL else (0, 75, -name)
        others += status not in expected
    finish(config)
    last = weights(work)
    same = all(torch.equal(last[key], value) for key, value in whole.items())
    return Outcome(name.name, number, lost, most, len(numbered(work)), others, same)


def finish(config: str) -> None:
    """Let a training end that nothing stops.

    Raises:
        RuntimeError: it does not.
    """
    work = Path(config).parent / 'work'
    if not finished(work):
        os.waitpid(start(config), 0)
    if not finished(work):
        raise RuntimeError(f'{work}: the training does not end')


def weights(work: Path) -> dict:
    """Those of the last checkpoint."""
    path = work / f'epoch_{EPOCHS}.pth'
    return torch.load(path, weights_only=True)['state_dict']


def main() -> None:
    """Run the trials and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--stops', type=int, default=40, help='of SIGTERM, and of SIGUSR1')
    args = parser.parse_args()
    torch.set_num_threads(1)
    slow_down()
    numbers = {
        signal.SIGKILL: args.kills,
        signal.SIGTERM: args.stops,
        signal.SIGUSR1: args.stops,
    }
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / 'whole').mkdir()
        finish(write_config(root / 'whole'))
        whole = weights(root / 'whole/work')
        for name, number in numbers.items():
            (root / name.name).mkdir()
            outcomes.append(trial(root / name.name, number, name, whole))
            print(outcomes[-1].row(), file=sys.stderr, flush=True)
    print(align([HEADER, *(outcome.row() for outcome in outcomes)]))
    broken = [text for outcome in outcomes for text in outcome.broken()]
    for text in broken:
        print(f'broken: {text}')
    sys.exit(bool(broken))


if __name__ == '__main__':
    main()
