"""torchrun, whose processes can be asked to stop and are waited for. Takes the same arguments.

SIGTERM, SIGUSR1 and Ctrl-C go to the processes and do nothing else. torchrun by itself knows no
SIGUSR1 and ends by it, kills its processes 30 seconds after a SIGTERM, and has the exit status 1
whatever theirs were; here it is 75 if all processes were asked to stop and have saved.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import api
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from saip.errors import PREEMPTED_STATUS

PASSED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

end_at_once = api._terminate_process_handler
"""What torchrun does for the signals that it knows."""


def pass_on(number: int, frame: FrameType | None) -> None:
    """Give a signal to the processes; end by one that comes before there are any."""
    processes = started()
    if number not in PASSED_ON or not processes:
        end_at_once(number, frame)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def started() -> list[int]:
    """Ids of the processes that this one has started, in Linux."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has just ended
            parent = stat.read_text().rpartition(')')[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(stat.parent.name))
    return found


def main() -> None:
    """Start the processes and wait for them."""
    api._terminate_process_handler = pass_on
    signal.signal(signal.SIGUSR1, pass_on)
    try:
        run.main()
    except ChildFailedError as error:
        statuses = {failure.exitcode for failure in error.failures.values()}
        if statuses != {PREEMPTED_STATUS}:
            raise
        sys.exit(PREEMPTED_STATUS)


if __name__ == '__main__':
    main()
