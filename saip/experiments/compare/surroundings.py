"""On what, with what and when a comparison was made."""

from __future__ import annotations

import platform
import subprocess
from datetime import date
from pathlib import Path

import mmengine
import timm
import torch

from saip.version import __version__


def describe_surroundings(device: str) -> dict[str, str]:
    """Commit, versions, device and date."""
    return {
        'commit': read_commit(Path(__file__).resolve().parents[3]),
        'versions': f'saip {__version__}, Python {platform.python_version()}, torch '
        f'{torch.__version__}, mmengine {mmengine.__version__}, timm {timm.__version__}',
        'device': describe_device(device),
        'date': date.today().isoformat(),
    }


def read_commit(root: Path) -> str:
    """Commit of the repository at ``root``, and whether files differ from it."""
    if not (
        root / '.git'
    ).exists():  # an installed package may lie inside of another repository
        return 'unknown: not a repository'
    try:
        head, changed = (
            subprocess.run(
                ['git', '-C', str(root), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (
                ('rev-parse', 'HEAD'),
                ('status', '--porcelain', '--untracked-files=no'),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return 'unknown: git does not say'
    return f'{head} with changes' if changed else head


def describe_device(device: str) -> str:
    """Name of the GPU, or of the processor and the number of threads."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.get_device_name(torch.device(device))
    listing = Path('/proc/cpuinfo')
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f'{processor}, {torch.get_num_threads()} threads'
