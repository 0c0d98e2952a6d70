"""What the project computed before its second form, it computes still."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.test_recordings import runs, views
from tests.test_recordings.cases import CASES, Case
from tests.test_recordings.record import FILE

RECORDED = json.loads(FILE.read_text())
FULL = os.environ.get('SAIP_RECORDING') == 'full'
FEW = 2
"""Steps of a slow case that are compared unless SAIP_RECORDING=full."""
STEP_NUMBERS = ('losses', 'weights', 'gradients')
# Views are float32 images of up to 255 gray levels.
GRAY_LEVELS = 1e-4


def case_parameters():
    for case in CASES:
        marks = [pytest.mark.slow] if case.slow else []
        marks += [pytest.mark.dist] if case.processes > 1 else []
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize('preset', views.PRESETS)
def test_plans_are_drawn_as_ever(preset):
    recorded = dict(RECORDED['plans'][preset])
    if preset == 'saip-official':  # it has no distractor, so none is drawn any more
        del recorded['scene.other']
    assert views.plan_digests(preset) == recorded


@pytest.mark.parametrize('renderer', ['device', 'reference'])
@pytest.mark.parametrize('preset', views.PRESETS)
def test_views_are_those_that_were_recorded(preset, renderer):
    recorded = RECORDED['views'][f'{preset}, {renderer}']
    found = views.rendered(preset, renderer)
    assert found.keys() == recorded.keys()
    for name, values in recorded.items():
        if isinstance(values, str):
            assert found[name] == values, name
        else:
            np.testing.assert_allclose(found[name], values, rtol=0, atol=GRAY_LEVELS)


@pytest.mark.usefixtures('fresh_mmengine')
@pytest.mark.parametrize('case', case_parameters())
def test_a_training_computes_what_was_recorded(case: Case, tmp_path: Path):
    recorded = RECORDED['runs'][case.name]
    few = FEW if case.slow and not FULL else None
    found = runs.run(case, tmp_path, steps=few)
    if case.processes == 1:
        found |= runs.first_step(case, tmp_path)
    compare(found, recorded, few)


def compare(found: dict, recorded: dict, few: int | None = None) -> None:
    """Compare to 1e-10: a sum of some thousand numbers of the order of 1, in float64."""
    rows = recorded['losses'][:few]
    assert len(found['losses']) == len(rows)
    for row, expected in zip(found['losses'], rows, strict=True):
        assert row.keys() >= expected.keys()
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-10, abs=1e-10), name
    for name, values in recorded.items():
        if name == 'losses' or (few and name not in STEP_NUMBERS) or name not in found:
            continue
        np.testing.assert_allclose(found[name], values, rtol=1e-10, atol=1e-10, err_msg=name)
