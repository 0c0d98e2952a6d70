"""The recorded step of the method's first release, if the record is there."""

import os
from pathlib import Path

import pytest
import torch

from saip.analysis.parity import CONFIG_NAME, Row, compare_step, load_dump, print_comparison
from tests.tiny import ROOT

# The records are too large for the repository: a folder beside it, or the one that is named.
FOLDERS = [os.environ.get('SAIP_PARITY', ''), *map(str, ROOT.parent.glob('*/parity'))]
DUMPS = sorted(
    {
        path.resolve()
        for folder in FOLDERS
        if folder
        for path in Path(folder).expanduser().glob('*.pt')
    }
)
CONFIG = ROOT / 'configs/pretrain/saip' / CONFIG_NAME


@pytest.mark.skipif(not DUMPS, reason='no recorded step: SAIP_PARITY names no folder of dumps')
@pytest.mark.parametrize('path', DUMPS, ids=lambda path: path.stem)
def test_the_step_agrees(path):
    assert print_comparison(compare_step(path, CONFIG))


@pytest.mark.skipif(not DUMPS, reason='no recorded step: SAIP_PARITY names no folder of dumps')
def test_a_changed_weight_is_noticed(tmp_path):
    dump = torch.load(DUMPS[0], weights_only=True)
    dump['student_state']['backbone.blocks.3.mlp.fc1.weight'][0, 0] += 0.1
    torch.save(dump, tmp_path / 'changed.pt')
    assert not print_comparison(compare_step(tmp_path / 'changed.pt', CONFIG))


def test_nan_never_agrees():
    assert not Row('x', float('nan'), 1.0).agrees


def test_what_is_no_record_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such checkpoint file'):
        load_dump(tmp_path / 'none.pt')
    (tmp_path / 'text.pt').write_text('hello')
    with pytest.raises(ValueError, match=r'text\.pt'):
        load_dump(tmp_path / 'text.pt')
    torch.save({'config': {}}, tmp_path / 'other.pt')
    with pytest.raises(ValueError, match=r'it lacks .*center_before'):
        load_dump(tmp_path / 'other.pt')
