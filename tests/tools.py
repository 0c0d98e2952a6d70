"""Command lines run in the process of a test."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def call_tool(monkeypatch: pytest.MonkeyPatch, tool: str, *arguments: object) -> int:
    """Run a file below ``tools/`` as from the command line; its exit status."""
    path = TOOLS / tool
    main = runpy.run_path(str(path))['main']
    monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
    try:
        return main() or 0
    except SystemExit as stop:
        return int(stop.code or 0)
