"""Files that the first form of the project wrote: checkpoints in the middle of a run, exports.

They are the runs of the recordings after two of their four epochs. Larger ones (an encoder with
BatchNorm, two processes, a frozen expert) are no part of the repository; SAIP_OLD_FILES names
their folder.
"""

from __future__ import annotations

import lzma
import os
import shutil
from pathlib import Path

from tests.test_recordings.cases import Case

FOLDER = Path(__file__).parent / 'old'
LARGER = os.environ.get('SAIP_OLD_FILES')
# Of saip-official without accumulation: within a window it cannot go on as it would have.
SMALL_CASES = [
    Case('saip'),
    Case('saip-paper'),
    Case('saip-small'),
    Case('saip-official', accumulated=1),
]
LARGER_CASES = [Case('saip', 'test_resnet'), Case('saip-star'), Case('saip', processes=2)]
EXPORTED = {
    'student': ('saip_vit-43cd42ac.pth', 'saip_vit-43cd42ac.safetensors'),
    'expert': ('saip_vit_expert-abdcf7ae.pth',),
}


def checkpoint(case: Case, folder: Path) -> Path:
    """The checkpoint of a case as a file in ``folder``."""
    name = f'{case.name}.pth'.replace(', ', '_').replace(' ', '-')
    path = folder / 'epoch_2.pth'
    packed = FOLDER / f'{name}.xz'
    if packed.is_file():
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    else:
        assert LARGER is not None
        shutil.copy(Path(LARGER, name), path)
    return path
