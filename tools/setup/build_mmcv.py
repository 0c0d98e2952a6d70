"""Build mmcv with its operators in a fraction of the usual time.

Most of the time goes into debug information and into reading torch's headers once per file. So:
no debug information, ``-O2``, and the headers compiled once. A compiler takes a precompiled
header only where every flag equals those it was made with; setuptools puts the environment's
CFLAGS in place of the interpreter's own, so the flags are given there and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from install import Setup

FLAGS = '-g0 -O2 -DNDEBUG -fwrapv -w'
EXTENSION = '-std=c++17 -DTORCH_API_INCLUDE_EXTENSION_H -DTORCH_EXTENSION_NAME=_ext'
"""What mmcv and torch's extension builder add to every compilation of the module ``_ext``."""


def build(setup: Setup, requirement: str, folder: Path) -> None:
    """Build the wheel of mmcv into a folder.

    Raises:
        RuntimeError: the wheel that came out holds no operators.
        subprocess.CalledProcessError: the compiler or pip failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        header = precompile(setup, Path(scratch))
        environment = {
            'MMCV_WITH_OPS': '1',
            'MAX_JOBS': str(len(os.sched_getaffinity(0))),
            'CFLAGS': f'{FLAGS} -include {header}',
        }
        if shutil.which('nvcc') is None:
            # Without a CUDA compiler the operators are built for the CPU, also beside a GPU.
            environment['CUDA_VISIBLE_DEVICES'] = ''
        name = requirement.split('==')[0]
        # Built in isolation, mmcv finds no torch and silently leaves the operators out.
        options = [
            '-v',
            '--no-deps',
            '--no-build-isolation',
            '--no-cache-dir',
            '--no-binary',
            name,
        ]
        setup.run(
            *(setup.python, '-m', 'pip', 'wheel', *options, '-w', folder, requirement),
            env=environment,
        )
    wheels = [path.name for path in folder.glob('*.whl')]
    if not wheels or wheels[0].endswith('-none-any.whl'):
        raise RuntimeError(f'the build of {requirement} made no operators: {wheels}')


def precompile(setup: Setup, scratch: Path) -> Path:
    """Compile torch's headers once and return the header that stands for them."""
    header = scratch / 'torch_headers.hpp'
    header.write_text('#include <torch/types.h>\n')
    code = (
        'import sysconfig; from torch.utils.cpp_extension import include_paths; '
        'print(*include_paths(), sysconfig.get_paths()["include"], sep="\\n")'
    )
    folders = [f'-I{path}' for path in setup.output(code).split('\n') if path]
    flags = [*FLAGS.split(), '-fPIC', *EXTENSION.split(), *folders]
    setup.run('g++', '-x', 'c++-header', *flags, header, '-o', f'{header}.gch')
    return header
