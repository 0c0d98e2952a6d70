"""Make the virtual environment of the project, step by step.

Every step leaves a stamp in ``VENV/.saip`` that holds a hash of its inputs and of all steps
before it. A step whose stamp fits is not done again; one that was interrupted has no stamp. The
output of a step goes to ``VENV/.saip/NAME.log`` and is shown only where the step fails. Only
the standard library is used: this file runs with the Python that makes the environment.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import build_mmcv
import torchvision_remedy

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
HERE = Path(__file__).resolve().parent
CONSTRAINTS = REQUIREMENTS / 'constraints.txt'
SHOWN_LINES = 25


@dataclass
class Setup:
    """What the steps share.

    Attributes:
        venv: the virtual environment.
        stack: ``forks`` or ``upstream``.
        gpu: whether the machine has an NVIDIA GPU.
        log: the log file of the running step.
    """

    venv: Path
    stack: str
    gpu: bool
    log: TextIO = sys.stdout

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / 'bin' / 'python'

    @property
    def state(self) -> Path:
        """Folder of stamps and logs."""
        return self.venv / '.saip'

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> None:
        """Run a command, its output in the step's log.

        Raises:
            subprocess.CalledProcessError: the command failed.
        """
        self.log.write(f'$ {" ".join(map(str, command))}\n')
        self.log.flush()
        subprocess.run(
            [str(part) for part in command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=ROOT,
        )

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
        inputs: files and values that decide the result.
        action: does the work.
        advice: what a user can do where it fails.
    """

    name: str
    inputs: tuple[Path | str, ...]
    action: Callable[[Setup], None]
    advice: str = 'Check the network and pip.conf, then run the same command again.'


def make_venv(setup: Setup) -> None:
    """Make an empty virtual environment."""
    setup.run(sys.executable, '-m', 'venv', '--clear', setup.venv)
    setup.state.mkdir(exist_ok=True)


def install_torch(setup: Setup) -> None:
    """Install torch with its build tools, and write down what was found for later steps."""
    setup.pip('-r', REQUIREMENTS / f'build-{setup.stack}.txt')
    setup.pip('-r', torch_file(setup))
    code = (
        'from importlib.metadata import version as v; '
        'print(*(n + "==" + v(n).split("+")[0] for n in ("torch", "torchvision")), sep="\\n")'
    )
    (setup.state / 'torch.txt').write_text(setup.output(code))


def install_core(setup: Setup) -> None:
    """Install what pretraining needs, without any compiled operator."""
    setup.pip('-r', REQUIREMENTS / 'core.txt')
    names = REQUIREMENTS / f'{setup.stack}-core.txt'
    setup.pip('--no-deps', '--no-build-isolation', '-r', names)


def install_downstream(setup: Setup) -> None:
    """Install the detection, pose and segmentation libraries and mim."""
    setup.pip('-r', REQUIREMENTS / 'downstream.txt')
    names = REQUIREMENTS / f'{setup.stack}-downstream.txt'
    setup.pip('--no-deps', '--no-build-isolation', '-r', names)


def install_compiled(setup: Setup) -> None:
    """Build xtcocotools and mmcv, or take them from the cache of an earlier build."""
    coco, mmcv = requirement_lines(REQUIREMENTS / f'{setup.stack}-compiled.txt')
    if shutil.which('g++') is None:
        print('  no C++ compiler: mmcv without operators; detection and pose will not run')
        setup.pip('--no-deps', '--no-build-isolation', '--no-cache-dir', mmcv)
        return
    wheels = [
        cached_wheel(setup, coco, build_plain),
        cached_wheel(setup, mmcv, build_mmcv.build),
    ]
    setup.pip('--no-deps', '--force-reinstall', *wheels)


def build_plain(setup: Setup, requirement: str, folder: Path) -> None:
    """Build a wheel from a source distribution, against the installed numpy."""
    name = requirement.split('==')[0]
    options = ['--no-deps', '--no-build-isolation', '--no-cache-dir', '--no-binary', name]
    setup.run(setup.python, '-m', 'pip', 'wheel', *options, '-w', folder, requirement)


def cached_wheel(
    setup: Setup, requirement: str, build: Callable[[Setup, str, Path], None]
) -> Path:
    """Return the wheel of a requirement, built only where the cache has none.

    The cache is keyed by everything that the binary depends on: Python, torch, numpy, the
    compiler and the way it is built.
    """
    versions = setup.output(
        'import numpy, torch, sys; '
        'print(sys.version_info[:2], numpy.__version__, torch.__version__)'
    )
    compiler = subprocess.run(
        ['g++', '-dumpfullversion'], check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    recipe = Path(build_mmcv.__file__) if build is build_mmcv.build else requirement
    key = digest('', (requirement, versions, compiler, platform.machine(), recipe))[:16]
    folder = ROOT / '.cache' / 'wheels' / key
    found = sorted(folder.glob('*.whl'))
    if found:
        return found[0]
    unfinished = folder.with_suffix('.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    build(setup, requirement, unfinished)
    unfinished.rename(folder)
    return next(iter(sorted(folder.glob('*.whl'))))


def repair_torchvision(setup: Setup) -> None:
    """Write the remedy for a CPU torch beside a CUDA torchvision, only where they meet."""
    setup.log.write(torchvision_remedy.apply(setup.python) + '\n')


def install_dev(setup: Setup) -> None:
    """Install the tools of the tests."""
    setup.pip('-r', REQUIREMENTS / 'dev.txt')


def install_project(setup: Setup) -> None:
    """Install the project itself as a link to this folder."""
    setup.pip('--no-deps', '--no-build-isolation', '-e', ROOT)


def check(setup: Setup) -> None:
    """Import everything once."""
    modules = ['torchvision.transforms', 'timm', 'mmengine.runner', 'mmpretrain', 'saip']
    if shutil.which('g++') is not None:
        modules += ['mmcv.ops', 'mmdet.apis', 'mmseg.apis', 'mmpose.apis', 'mim']
    setup.run(setup.python, '-W', 'ignore', '-c', f'import {", ".join(modules)}')


def torch_file(setup: Setup) -> Path:
    """Return the requirements of torch for this machine."""
    return REQUIREMENTS / ('torch-gpu.txt' if setup.gpu else 'torch-cpu.txt')


def requirement_lines(path: Path) -> list[str]:
    """Return the requirements of a file without its comments."""
    lines = [line.split('#')[0].strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line]


def steps(setup: Setup) -> Iterator[Step]:
    """All steps in their order."""

    def files(*names: str) -> tuple[Path, ...]:
        return tuple(REQUIREMENTS / name for name in names)

    stack = setup.stack
    python = f'{sys.executable} {platform.python_version()}'
    compile_advice = (
        'Building needs g++ and the headers of Python (on Debian: g++ python3-dev).'
    )
    remedy = (HERE / 'torchvision_remedy.py', HERE / 'torchvision_on_cpu_torch.py')
    yield Step(
        'venv', (python,), make_venv, 'On Debian, Python needs the package python3-venv.'
    )
    yield Step(
        'torch',
        (CONSTRAINTS, torch_file(setup), *files(f'build-{stack}.txt')),
        install_torch,
        f'pip is configured to find none of {requirement_lines(torch_file(setup))}?',
    )
    yield Step('core', files('core.txt', f'{stack}-core.txt'), install_core)
    yield Step(
        'downstream', files('downstream.txt', f'{stack}-downstream.txt'), install_downstream
    )
    compiled = (*files(f'{stack}-compiled.txt'), HERE / 'build_mmcv.py')
    yield Step('compiled', compiled, install_compiled, compile_advice)
    yield Step(
        'torchvision', remedy, repair_torchvision, 'Is the build of torchvision complete?'
    )
    yield Step('dev', files('dev.txt'), install_dev)
    project = (ROOT / 'pyproject.toml', ROOT / 'setup.py', str(ROOT))
    yield Step('project', project, install_project, 'Is pyproject.toml as it was?')
    yield Step(
        'check', (), check, 'Remove the virtual environment (make clean) and start again.'
    )


def digest(previous: str, inputs: tuple[Path | str, ...]) -> str:
    """Hash the contents of files and values, after the hash of the step before."""
    state = hashlib.sha256(previous.encode())
    for item in inputs:
        state.update(item.read_bytes() if isinstance(item, Path) else item.encode())
        state.update(b'\0')
    return state.hexdigest()


def perform(setup: Setup, step: Step, label: str) -> None:
    """Do one step.

    Raises:
        SystemExit: it failed; the end of its log and an advice have been printed.
    """
    print(f'{label} {step.name} ...', end='', flush=True)
    start = time.monotonic()
    # The first step clears the folder that the logs are in, so its log lies outside until then.
    path = setup.venv.with_suffix('.log') if step.name == 'venv' else log_path(setup, step)
    try:
        with path.open('w') as setup.log:
            step.action(setup)
    except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
        tail = '\n'.join(path.read_text(errors='replace').splitlines()[-SHOWN_LINES:])
        print(f' failed\n{tail}\n{error}', file=sys.stderr)
        print(f'\nSet-up stopped at "{step.name}". {step.advice}', file=sys.stderr)
        print(f'The whole log: {path}', file=sys.stderr)
        raise SystemExit(1) from None
    if path != log_path(setup, step):
        path.replace(log_path(setup, step))
    print(f' {time.monotonic() - start:.0f} s', flush=True)


def log_path(setup: Setup, step: Step) -> Path:
    """Return the log file of a step."""
    return setup.state / f'{step.name}.log'


def main() -> None:
    """Do the steps whose stamps do not fit."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--venv', type=Path, required=True)
    parser.add_argument('--stack', choices=['forks', 'upstream'], default='forks')
    args = parser.parse_args()
    setup = Setup(
        (ROOT / args.venv).absolute(), args.stack, shutil.which('nvidia-smi') is not None
    )
    todo = list(steps(setup))
    key = f'{args.stack} {setup.gpu}'
    start = time.monotonic()
    performed = 0
    for number, step in enumerate(todo, 1):
        key = digest(key, step.inputs)
        stamp = setup.state / f'{step.name}.stamp'
        if stamp.exists() and stamp.read_text() == key:
            continue
        stamp.unlink(missing_ok=True)
        perform(setup, step, f'set-up [{number}/{len(todo)}]')
        stamp.write_text(key)
        performed += 1
    if performed:
        print(f'set-up done in {time.monotonic() - start:.0f} s: {args.venv}', flush=True)


if __name__ == '__main__':
    main()
