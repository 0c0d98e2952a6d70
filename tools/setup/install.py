"""Make the virtual environment of the project, step by step.

The steps of the part ``core`` suffice for pretraining, frozen evaluation and export. The others
add the OpenMMLab libraries of the downstream tasks, mmcv's compiled operators and the tools of the
tests. The operators are compiled while the other packages are installed.

Every step leaves a stamp in ``VENV/.saip`` that holds a hash of its inputs and of all steps
before it. A step whose stamp fits is not done again; one that was interrupted has no stamp. The
output of a step goes to ``VENV/.saip/NAME.log`` and is shown only where the step fails. Only
the standard library is used: this file runs with the Python that makes the environment.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import build_mmcv
import torchvision_remedy
from beside import Beside, compiled_files, follow
from environment import CONSTRAINTS, REQUIREMENTS, ROOT, Setup, Step

HERE = Path(__file__).resolve().parent
SHOWN_LINES = 25


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
    # Built in isolation, mmcv finds no torch and leaves its operators out. pip would keep that
    # wheel and take it for the compiled one.
    setup.pip('--no-deps', '--no-cache-dir', plain_mmcv(setup))


def install_downstream(setup: Setup) -> None:
    """Install the detection, pose and segmentation libraries and mim."""
    setup.pip('-r', REQUIREMENTS / 'downstream.txt')
    names = REQUIREMENTS / f'{setup.stack}-downstream.txt'
    setup.pip('--no-deps', '--no-build-isolation', '-r', names)


def install_compiled(setup: Setup) -> None:
    """Build xtcocotools and mmcv, or take them from the cache of an earlier build."""
    if shutil.which('g++') is None:
        print('  no C++ compiler: mmcv without operators; detection and pose will not run')
        return
    coco, _ = requirement_lines(REQUIREMENTS / f'{setup.stack}-compiled.txt')
    assert setup.operators is not None
    wheels = [cached_wheel(setup, coco, build_plain), setup.operators.result()]
    # While mmcv is exchanged the core is incomplete.
    stamp = setup.stamp_of('core')
    key = stamp.read_text()
    stamp.unlink()
    plain = plain_mmcv(setup).split('==')[0]
    setup.run(setup.python, '-m', 'pip', 'uninstall', '-y', plain)
    setup.pip('--no-deps', '--force-reinstall', *wheels)
    stamp.write_text(key)


def compile_operators(setup: Setup) -> Path:
    """Return the wheel of mmcv; runs in a thread beside the steps, with a log of its own."""
    _, mmcv = requirement_lines(REQUIREMENTS / f'{setup.stack}-compiled.txt')
    with setup.operators_log.open('w') as log:
        return cached_wheel(replace(setup, log=log), mmcv, build_mmcv.build)


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


def plain_mmcv(setup: Setup) -> str:
    """Return the requirement of mmcv without operators."""
    return requirement_lines(REQUIREMENTS / f'{setup.stack}-plain.txt')[0]


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
        'venv',
        'core',
        (python,),
        make_venv,
        'On Debian, Python needs the package python3-venv.',
    )
    yield Step(
        'torch',
        'core',
        (CONSTRAINTS, torch_file(setup), *files(f'build-{stack}.txt')),
        install_torch,
        f'pip is configured to find none of {requirement_lines(torch_file(setup))}?',
    )
    core = files('core.txt', f'{stack}-core.txt', f'{stack}-plain.txt')
    yield Step('core', 'core', core, install_core)
    yield Step(
        'torchvision',
        'core',
        remedy,
        repair_torchvision,
        'Is the build of torchvision complete?',
    )
    project = (ROOT / 'pyproject.toml', ROOT / 'setup.py', str(ROOT))
    yield Step('project', 'core', project, install_project, 'Is pyproject.toml as it was?')
    downstream = files('downstream.txt', f'{stack}-downstream.txt')
    yield Step('downstream', 'all', downstream, install_downstream)
    yield Step('dev', 'all', files('dev.txt'), install_dev)
    compiled = (*files(f'{stack}-compiled.txt'), HERE / 'build_mmcv.py')
    yield Step('compiled', 'all', compiled, install_compiled, compile_advice)
    yield Step(
        'check',
        'all',
        (),
        check,
        'Remove the virtual environment (make clean) and start again.',
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
    path = setup.log_of(step.name)

    def act() -> None:
        with path.open('w') as setup.log:
            step.action(setup)

    def state() -> str:
        done = compiled_files(setup.operators_log)
        return f'(mmcv: {done} files compiled)' if setup.operators and done else ''

    try:
        follow(act, f'{label} {step.name}', state)
    except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
        compiling = setup.operators is not None and setup.operators.error is error
        shown = setup.operators_log if compiling else path
        tail = '\n'.join(shown.read_text(errors='replace').splitlines()[-SHOWN_LINES:])
        print(f'{tail}\n{error}', file=sys.stderr)
        print(f'\nSet-up stopped at "{step.name}". {step.advice}', file=sys.stderr)
        print(f'The whole log: {shown}', file=sys.stderr)
        raise SystemExit(1) from None
    if path.parent != setup.state:
        path.replace(setup.state / f'{step.name}.log')


def pending(setup: Setup, todo: list[Step]) -> dict[str, str]:
    """Return the steps whose stamps do not fit, by name with the keys that they are to have."""
    key = f'{setup.stack} {setup.gpu}'
    found = {}
    for step in todo:
        key = digest(key, step.inputs)
        stamp = setup.stamp_of(step.name)
        if not stamp.exists() or stamp.read_text() != key:
            found[step.name] = key
    return found


@contextmanager
def alone(venv: Path) -> Iterator[None]:
    """Wait for another set-up of the same environment."""
    path = ROOT / '.cache' / f'setup-{venv.name}.lock'
    path.parent.mkdir(exist_ok=True)
    with path.open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('set-up: another one is at work on this environment; waiting', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def perform_all(setup: Setup, todo: list[Step]) -> None:
    """Do the steps whose stamps do not fit; compile mmcv beside those that follow the core.

    Raises:
        SystemExit: one failed.
    """
    start = time.monotonic()
    for number, step in enumerate(todo, 1):
        due = pending(setup, todo)
        if step.name not in due:
            continue
        compiles = step.part == 'all' and 'compiled' in due and shutil.which('g++') is not None
        if compiles and setup.operators is None:
            setup.operators = Beside(lambda: compile_operators(setup))
        setup.stamp_of(step.name).unlink(missing_ok=True)
        perform(setup, step, f'set-up [{number}/{len(todo)}]')
        setup.stamp_of(step.name).write_text(due[step.name])
    print(f'set-up done in {time.monotonic() - start:.0f} s: {setup.venv.name}', flush=True)


def main() -> None:
    """Do the steps whose stamps do not fit."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--venv', type=Path, required=True)
    parser.add_argument('--stack', choices=['forks', 'upstream'], default='forks')
    parser.add_argument('--part', choices=['core', 'all'], default='all')
    args = parser.parse_args()
    setup = Setup(
        (ROOT / args.venv).absolute(), args.stack, shutil.which('nvidia-smi') is not None
    )
    todo = [step for step in steps(setup) if args.part in (step.part, 'all')]
    if not pending(setup, todo):
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone(setup.venv):
            perform_all(setup, todo)
    except KeyboardInterrupt:
        print('\nset-up interrupted; the same command goes on from there', file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        setup.stop()


if __name__ == '__main__':
    main()
