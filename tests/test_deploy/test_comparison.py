"""The measures by which an exported file is compared, against numbers worked out by hand."""

import numpy as np
import pytest

from saip.deploy.comparison import (
    DifferenceError,
    centered_cosine,
    compare_outputs,
    refuse_difference,
)
from saip.deploy.program import Output

TOKEN = Output('token', '')


def test_the_cosine_is_that_of_centered_values():
    """Centered: (-1, 0), (1, 0) against (-1, 1), (1, 1): 2 / (sqrt 2 · sqrt 4)."""
    source = np.array([[99.0, 50.0], [101.0, 50.0]])
    found = np.array([[99.0, 51.0], [101.0, 51.0]])
    assert centered_cosine(source, found) == pytest.approx(2 / np.sqrt(8))
    plain = (source * found).sum() / np.linalg.norm(source) / np.linalg.norm(found)
    assert plain > 0.9999


def test_a_constant_output_agrees_with_itself_alone():
    same = np.full((3, 2), 7.0)
    assert centered_cosine(same, same) == 1
    assert centered_cosine(same, same + 1) == 0


def test_the_tolerance_follows_large_values():
    source = {'token': np.array([[0.0], [1000.0]])}
    (near,) = compare_outputs([TOKEN], source, {'token': source['token'] + 0.09})
    (far,) = compare_outputs([TOKEN], source, {'token': source['token'] + 0.11})
    assert (near.equal, far.equal) == (True, False)
    assert far.difference == pytest.approx(0.11)
    refuse_difference([near])
    with pytest.raises(DifferenceError, match=r'token: largest difference 1\.10e-01'):
        refuse_difference([near, far])


def test_a_decoded_output_may_jump_in_one_value_of_a_hundred():
    source = np.arange(200.0).reshape(2, 100)
    labels = Output('labels', '', decoded=True)
    for jumps, equal in ((2, True), (3, False)):
        found = source.copy()
        found[0, :jumps] += 5
        (comparison,) = compare_outputs([labels], {'labels': source}, {'labels': found})
        assert comparison.differing == jumps / 200
        assert comparison.equal is equal


def test_other_shapes_and_values_that_are_not_finite_are_refused():
    source = {'token': np.zeros((2, 3))}
    with pytest.raises(DifferenceError, match=r'token: shape \(2, 4\) in the file, \(2, 3\)'):
        compare_outputs([TOKEN], source, {'token': np.zeros((2, 4))})
    with pytest.raises(DifferenceError, match='not finite in the file'):
        compare_outputs([TOKEN], source, {'token': np.full((2, 3), np.nan)})
