"""The virtual environment that is set up: its places, and commands in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from beside import Beside

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
CONSTRAINTS = REQUIREMENTS / 'constraints.txt'


@dataclass
class Setup:
    """What the steps share.

    Attributes:
        venv: the virtual environment.
        stack: ``forks`` or ``upstream``.
        gpu: whether the machine has an NVIDIA GPU.
        log: the log file of the running step.
        running: processes at work.
        operators: the compilation of mmcv beside the steps; its result is the wheel.
    """

    venv: Path
    stack: str
    gpu: bool
    log: TextIO = sys.stdout
    running: list[subprocess.Popen] = field(default_factory=list)
    operators: Beside[Path] | None = None

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / 'bin' / 'python'

    @property
    def state(self) -> Path:
        """Folder of stamps and logs."""
        return self.venv / '.saip'

    @property
    def operators_log(self) -> Path:
        """Log file of the compilation that runs beside the steps."""
        return self.state / 'operators.log'

    def log_of(self, step: str) -> Path:
        """Log file of a step; outside while the first one clears the environment."""
        if step == 'venv':
            return self.venv.with_suffix('.log')
        return self.state / f'{step}.log'

    def stamp_of(self, step: str) -> Path:
        """File that says that a step is done."""
        return self.state / f'{step}.stamp'

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> None:
        """Run a command, its output in the step's log.

        Raises:
            subprocess.CalledProcessError: the command failed.
        """
        self.log.write(f'$ {" ".join(map(str, command))}\n')
        self.log.flush()
        # Ctrl-C waits until ``stop`` knows the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=ROOT,
                start_new_session=True,  # so that ``stop`` ends its compilers, too
            )
            self.running.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        status = process.wait()
        self.running.remove(process)
        if status:
            raise subprocess.CalledProcessError(status, process.args)

    def stop(self) -> None:
        """End the processes at work, with all that they have started."""
        for process in self.running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)

    def pip(self, *arguments: str | Path) -> None:
        """Run the environment's pip under the project's constraints."""
        frozen = self.state / 'torch.txt'
        limits = [CONSTRAINTS, frozen] if frozen.exists() else [CONSTRAINTS]
        options = ['--disable-pip-version-check', '--progress-bar', 'off']
        constraints = [part for limit in limits for part in ('-c', limit)]
        self.run(self.python, '-m', 'pip', 'install', *options, *constraints, *arguments)

    def output(self, code: str) -> str:
        """What a line of Python prints inside the environment."""
        command = [str(self.python), '-W', 'ignore', '-c', code]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


@dataclass(frozen=True)
class Step:
    """One step of the set-up.

    Attributes:
        name: shown to the user; name of stamp and log.
        part: ``core`` or ``all``.
        inputs: files and values that decide the result.
        action: does the work.
        advice: what a user can do where it fails.
    """

    name: str
    part: str
    inputs: tuple[Path | str, ...]
    action: Callable[[Setup], None]
    advice: str = 'Check the network and pip.conf, then run the same command again.'
