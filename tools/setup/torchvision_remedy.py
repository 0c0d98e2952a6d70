"""Find a CPU torch beside a CUDA torchvision in an environment, and make the two work together.

``torchvision_on_cpu_torch.py`` is the remedy; this file decides whether it is needed, and makes
the stand-ins for the missing CUDA libraries where there is a C compiler: empty functions under
every name that torchvision's library asks for. A CPU program never enters one, but for the
registration of GPU code at load, whose result is not used.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

HOOK = Path(__file__).with_name('torchvision_on_cpu_torch.py')
PROBE = """
import glob, importlib.util, os, torch
folder = os.path.dirname(importlib.util.find_spec('torchvision').origin)
library = (glob.glob(os.path.join(folder, '_C*.so')) or [''])[0]
cpu = torch.version.cuda is None and torch.version.hip is None
cuda = bool(library) and b'libtorch_cuda.so' in open(library, 'rb').read()
print(os.path.dirname(folder), library if cpu and cuda else '', sep='\\n')
"""


def apply(python: Path) -> str:
    """Write or remove the remedy in the environment of an interpreter.

    Returns:
        One line that says what was found and done.

    Raises:
        RuntimeError: torchvision cannot be imported afterwards.
    """
    probe = subprocess.run(
        [str(python), '-W', 'ignore', '-c', PROBE],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    site, library = (line.strip() for line in probe.stdout.split('\n')[:2])
    module = Path(site) / HOOK.name
    start = module.with_suffix('.pth')
    folder = module.with_name(f'{module.stem}_libs')
    start.unlink(missing_ok=True)
    module.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    if not library:
        return 'torch and torchvision match: nothing to do'
    if shutil.which('gcc') and shutil.which('nm'):
        make_stand_ins(Path(library), folder)
    shutil.copyfile(HOOK, module)
    start.write_text(f'import {module.stem}\n')
    code = 'import torchvision.transforms, torchvision.extension as e; print(e._has_ops())'
    done = subprocess.run([str(python), '-c', code], text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f'torchvision cannot be imported: {done.stderr.strip()[-300:]}')
    return f'CPU torch beside a CUDA torchvision: remedied; kernels: {done.stdout.strip()}'


def make_stand_ins(library: Path, folder: Path) -> None:
    """Compile the stand-ins for the CUDA libraries that a shared library needs."""
    listing = subprocess.run(
        ['nm', '-D', '--undefined-only', str(library)],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout
    wanted = [line.split()[-1] for line in listing.splitlines()]
    runtime = [name.split('@')[0] for name in wanted if '@libcudart.so' in name]
    version = next(name.split('@')[-1] for name in wanted if '@libcudart.so' in name)
    torch_names = [name for name in wanted if re.match(r'_ZNK?(2at|3c10)4cuda', name)]
    folder.mkdir()
    compile_library(folder, version, runtime, f'{version} {{ global: *; }};')
    compile_library(folder, 'libc10_cuda.so', torch_names)
    compile_library(folder, 'libtorch_cuda.so', [])


def compile_library(folder: Path, name: str, functions: list[str], version: str = '') -> None:
    """Compile a shared library of empty functions, under a symbol version if one is given."""
    source = folder / f'{name}.c'
    body = (f'void *{symbol}(void) {{ return 0; }}\n' for symbol in functions)
    source.write_text(''.join(body))
    command = ['gcc', '-shared', '-fPIC', f'-Wl,-soname,{name}']
    script = folder / f'{name}.map'
    if version:
        script.write_text(version)
        command.append(f'-Wl,--version-script={script}')
    subprocess.run([*command, '-o', str(folder / name), str(source)], check=True)
    source.unlink()
    script.unlink(missing_ok=True)
