import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saip.datasets.views.masking import exact_mask, official_mask
from saip.datasets.views.random import uniforms


@pytest.mark.parametrize('grid', [(16, 8), (20, 10), (12, 6), (9, 4), (24, 8), (3, 5)])
@pytest.mark.parametrize('ratio', [0.75, 0.6, 0.9])
def test_exact_counts(grid, ratio):
    patches = grid[0] * grid[1]
    noise = uniforms(0, 'mask', np.arange(50), 0, patches)
    mask = exact_mask(noise, ratio)
    kept = int(patches * round(1 - ratio, 6))
    assert mask.keep.shape == (50, kept)
    assert mask.scored.shape == (50, patches - kept)
    for b in range(50):
        assert set(mask.keep[b]) | set(mask.scored[b]) == set(range(patches))
        assert set(mask.keep[b]) == set(np.argsort(noise[b])[:kept])
        assert (np.diff(mask.keep[b]) > 0).all()
        sequence = np.concatenate([mask.keep[b], mask.scored[b]])
        assert (sequence[mask.restore[b]] == np.arange(patches)).all()


def test_official_rule_by_a_second_implementation():
    source, target = (16, 8), (20, 10)
    noise = uniforms(0, 'mask', np.arange(200), 0, 128)
    mask = official_mask(noise, source, target, 0.75)
    visible = torch.zeros(200, 128)
    visible.scatter_(1, torch.from_numpy(noise).argsort(dim=1)[:, :32], 1.0)
    visible = F.interpolate(visible.view(200, 1, *source), scale_factor=1.25).view(200, 200)
    shuffle = torch.argsort(1 - visible, dim=1, stable=True)
    assert (mask.keep == shuffle[:, :50].numpy()).all()
    assert (mask.restore == torch.argsort(shuffle, dim=1).numpy()).all()
    scored = np.zeros((200, 200))
    rows = np.repeat(np.arange(200)[:, None], mask.scored.shape[1], 1)
    np.add.at(scored, (rows, mask.scored), mask.scored_weight)
    assert (scored == 1 - visible.numpy()).all()
    counts = visible.sum(1)
    assert 49 < counts.mean() < 51
    assert counts.std() > 2
