"""What a figure was measured on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Processor, GPU if there is one, and versions."""
    found = {
        'processor': processor(),
        'threads': torch.get_num_threads(),
        'python': platform.python_version(),
        'torch': torch.__version__,
    }
    if torch.cuda.is_available():
        found['gpu'] = torch.cuda.get_device_name()
    return found


def processor() -> str:
    """Name of the processor, as well as the system tells it."""
    listing = Path('/proc/cpuinfo')
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
