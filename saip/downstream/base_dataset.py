"""mmpretrain's base of labeled data sets.

Its package prints a line about a library that nobody here uses when it is imported; that line
would be the first of every tool, so it is swallowed.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

with redirect_stdout(StringIO()):
    from mmpretrain.datasets import BaseDataset

__all__ = ['BaseDataset']
