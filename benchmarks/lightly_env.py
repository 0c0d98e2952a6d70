"""Make an environment with lightly-train, which the benchmark compares with.

``python benchmarks/lightly_env.py FOLDER [--requirements FILE]`` (two minutes); FOLDER lies
outside the repository and the environment of this project, whose versions it must not change.
``make benchmark LIGHTLY=FOLDER`` uses it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools/setup'))

import torchvision_remedy

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('lightly-train==0.18.0', 'timm')
TORCH = ROOT / 'requirements/torch-cpu.txt'


def main() -> int:
    """Make the environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--requirements', type=Path, default=TORCH, help='its torch; by default that of a CPU'
    )
    args = parser.parse_args()
    if ROOT in args.folder.resolve().parents:
        parser.error(f'{args.folder} lies inside the repository')
    python = args.folder / 'bin/python'
    subprocess.run([sys.executable, '-m', 'venv', str(args.folder)], check=True)
    install = [str(python), '-m', 'pip', 'install', '-q', '-r', str(args.requirements)]
    subprocess.run([*install, *PACKAGES], check=True)
    print(torchvision_remedy.apply(python))
    print(f'make benchmark LIGHTLY={args.folder}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
