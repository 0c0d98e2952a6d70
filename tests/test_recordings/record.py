"""Write recording.json: the numbers that a change of structure must not change.

python -m tests.test_recordings.record [NAME ...]      # cases whose name begins so; default all

Cases are recorded one by one into the file that there is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.test_recordings import runs, views
from tests.test_recordings.cases import CASES, Case

FILE = Path(__file__).parent / 'recording.json'


def record(names: list[str]) -> None:
    """Record views and the named cases."""
    known = json.loads(FILE.read_text()) if FILE.is_file() else {'runs': {}}
    known['plans'] = {preset: views.plan_digests(preset) for preset in views.PRESETS}
    known['views'] = {
        f'{preset}, {renderer}': views.rendered(preset, renderer)
        for preset in views.PRESETS
        for renderer in ('device', 'reference')
    }
    for case in CASES:
        if not names or any(case.name.startswith(name) for name in names):
            known['runs'][case.name] = record_case(case)
            FILE.write_text(json.dumps(known, separators=(',', ':')) + '\n')


def record_case(case: Case) -> dict:
    """First step and training of one case."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        first = runs.first_step(case, Path(folder)) if case.processes == 1 else {}
        result = {**first, **runs.run(case, Path(folder))}
    print(f'{case.name}: {time.monotonic() - started:.1f} s', flush=True)
    return result


if __name__ == '__main__':
    record(sys.argv[1:])
