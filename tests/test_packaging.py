import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy, so that the working tree gets no build folder."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    skipped = shutil.ignore_patterns('__pycache__', '*.egg-info', 'build')
    for name in ('saip', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=skipped)
    for name in ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'LICENSE', 'README.md'):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    environment = {**os.environ, 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    subprocess.run([*command, '-w', folder, source], check=True, env=environment)
    return next(folder.glob('*.whl'))


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    """Unpack the wheel as pip installs it: its list of files sorted."""
    target = tmp_path_factory.mktemp('installed')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    record = next(target.glob('*.dist-info')) / 'RECORD'
    record.write_text(''.join(sorted(record.read_text().splitlines(keepends=True))))
    return target


def python(installed: Path, *arguments: str, cwd: Path, more: str = ''):
    """Run Python where only the installed package is importable, not the working tree."""
    path = os.pathsep.join(filter(None, [str(installed), more]))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': path},
        text=True,
        capture_output=True,
        timeout=240,
    )


def test_wheel_holds_configs_and_tools_for_both_kinds_of_mim(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('saip/.mim', '_saip_mim/.mim'):
        for kind in ('configs', 'tools'):
            inside = f'{folder}/{kind}/'
            shipped = {n.removeprefix(f'{folder}/') for n in names if n.startswith(inside)}
            wanted = {
                path.relative_to(ROOT).as_posix()
                for path in (ROOT / kind).rglob('*')
                if path.is_file()
                and not {'__pycache__', 'setup'} & set(path.relative_to(ROOT).parts)
            }
            assert shipped == wanted
    assert 'saip/engine/launch.py' in names
    assert not [n for n in names if n.startswith('tests/') or '__pycache__' in n]


def test_wheel_needs_neither_of_the_two_stacks(installed):
    path = next(installed.glob('*.dist-info'))
    metadata = importlib.metadata.Distribution.at(path).metadata
    assert metadata['Name'] == 'saip'
    needed = [line for line in metadata.get_all('Requires-Dist') if 'extra ==' not in line]
    assert any(line.startswith('torch>=') for line in needed)
    assert not [line for line in needed if line.startswith(('mm', 'onedl'))]


def test_installed_package_comes_from_its_own_folder(installed, tmp_path):
    code = 'import saip.engine, saip; print(saip.__file__, saip.__version__)'
    done = python(installed, '-c', code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file, version = done.stdout.split()[-2:]
    assert Path(file).is_relative_to(installed)
    info = importlib.metadata.Distribution.at(next(installed.glob('*.dist-info')))
    assert version == info.version


def test_mim_finds_a_config_by_its_bare_name(installed, tmp_path):
    code = (
        'from mim.utils import get_installed_path, recursively_find; '
        'root = get_installed_path("saip"); '
        'print(root, *recursively_find(root, "default_runtime.py", followlinks=True))'
    )
    done = python(installed, '-c', code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root, *found = done.stdout.split()
    # onedl-mim takes the first folder of the wheel's RECORD, openmim the module's.
    assert Path(root) in (installed / '_saip_mim', installed / 'saip')
    assert found == [f'{root}/.mim/configs/_base_/default_runtime.py']


@pytest.mark.slow
@pytest.mark.parametrize('package', ['saip', 'mmpretrain'])
def test_mim_trains_with_the_installed_package(installed, tmp_path, toy_config, package):
    # The toy's model lies in the tests: these are importable, the rest of the tree is not.
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more' / 'tests').symlink_to(ROOT / 'tests')
    loaders = ('train_dataloader', 'val_dataloader')
    path = toy_config(**{f'{loader}.persistent_workers': False for loader in loaders})
    command = ['-m', 'mim', 'train', package, path, '--gpus', '1', '--yes']
    done = python(installed, *command, cwd=tmp_path, more=str(tmp_path / 'more'))
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Training finished successfully' in done.stdout
    assert (tmp_path / 'work' / 'epoch_3.pth').exists()


@pytest.mark.slow
@pytest.mark.dist
def test_mim_trains_on_two_processes(installed, tmp_path, toy_config):
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more' / 'tests').symlink_to(ROOT / 'tests')
    command = ['-m', 'mim', 'train', 'saip', toy_config(), '--gpus', '2', '-l', 'pytorch', '-y']
    done = python(installed, *command, cwd=tmp_path, more=str(tmp_path / 'more'))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / 'work' / 'epoch_3.pth').exists()


@pytest.mark.slow
@pytest.mark.parametrize('options', [[], ['-e']])
def test_pip_installs_the_project(tmp_path, options):
    """``pip install .`` and ``pip install -e .`` into a bare environment."""
    venv = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', venv], check=True)
    source = tmp_path / 'source'
    for name in ('saip', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name)
    for name in ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'LICENSE', 'README.md'):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, '-m', 'pip', '--python', str(venv), 'install', '-q', '--no-deps']
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    builder = next(Path(p) for p in sys.path if (Path(p) / 'setuptools').is_dir())
    environment['PYTHONPATH'] = str(builder)
    subprocess.run(
        [*command, '--no-build-isolation', *options, str(source)], check=True, env=environment
    )
    del environment['PYTHONPATH']
    code = 'import saip; print(saip.__file__)'
    found = subprocess.run(
        [venv / 'bin' / 'python', '-c', code],
        check=True,
        text=True,
        capture_output=True,
        env=environment,
        cwd=tmp_path,
    ).stdout.strip()
    assert Path(found).is_relative_to(source if options else venv)
