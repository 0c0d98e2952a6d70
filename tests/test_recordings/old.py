"""Files of the first form of the project: training checkpoints in the middle of a run, exports.

``python -m tests.test_recordings.old FOLDER`` wrote them; today's code can only read them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.test_recordings import runs
from tests.test_recordings.cases import Case

FOLDER = Path(__file__).parent / 'old'
OLD = [
    Case('saip'),
    Case('saip', 'test_resnet'),
    Case('saip-paper'),
    Case('saip-small'),
    Case('saip-star'),
    Case('saip', processes=2),
]
LARGE = [Case('saip', 'starnet-s3'), Case('saip-paper', 'tinyvit-5m')]


def file_name(case: Case) -> str:
    return f'{case.name}.pth'.replace(', ', '_').replace(' ', '-')


def write(cases: list[Case], out: Path) -> None:
    """Keep the checkpoint of epoch 2 of 4 of every case."""
    out.mkdir(parents=True, exist_ok=True)
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = {'default_hooks.checkpoint.interval': 2}
            runs.run(case, Path(folder), **checkpoint)
            shutil.copy(Path(folder, 'work/epoch_2.pth'), out / file_name(case))


if __name__ == '__main__':
    write(LARGE if 'large' in sys.argv else OLD, Path(sys.argv[1]))
