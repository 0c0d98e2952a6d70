"""Stop a training again and again and count what is lost: kill -9, SIGTERM, SIGUSR1.

    python benchmarks/reliability.py --kills 100 --stops 40

The training is the tests' line through a few points, whose steps are slowed down so that every
phase of a run is hit: before the first step, within an epoch, while a checkpoint is written. Each
start is a process of its own that continues what the last one left.
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


def trial(folder: Path, number: int, name: signal.Signals, whole: dict) -> list[str]:
    """One row: what was lost by so many stops of a kind."""
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
    while not finished(work):
        os.waitpid(start(config), 0)
    last = torch.load(work / f'epoch_{EPOCHS}.pth', weights_only=True)['state_dict']
    same = all(torch.equal(last[key], value) for key, value in whole.items())
    left = len(numbered(work))
    ends = 'equal' if same else 'DIFFERENT'
    return [name.name, str(number), str(lost), str(most), str(left), str(others), ends]


def main() -> None:
    """Run the trials and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--stops', type=int, default=40, help='of SIGTERM, and of SIGUSR1')
    args = parser.parse_args()
    torch.set_num_threads(1)
    slow_down()
    rows = [
        [
            'signal',
            'stops',
            'none to resume',
            'most files',
            'files left',
            'other ends',
            'weights',
        ]
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / 'whole').mkdir()
        os.waitpid(start(write_config(root / 'whole')), 0)
        path = root / f'whole/work/epoch_{EPOCHS}.pth'
        whole = torch.load(path, weights_only=True)['state_dict']
        for name, number in (
            (signal.SIGKILL, args.kills),
            (signal.SIGTERM, args.stops),
            (signal.SIGUSR1, args.stops),
        ):
            (root / name.name).mkdir()
            rows.append(trial(root / name.name, number, name, whole))
            print(rows[-1], file=sys.stderr, flush=True)
    print(align(rows))


if __name__ == '__main__':
    main()
