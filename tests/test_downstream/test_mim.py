"""A task is launched through mim, with the encoder and its weights from outside."""

import os
import subprocess
import sys

import pytest

from saip.checkpoint import load_checkpoint_file
from saip.synthetic import SIZES, write_market1501
from saip.visualization.curves import read_last_validation
from tests.test_experiments.exported_files import REID, export, four_blocks, reid_options
from tests.tiny import ROOT


def test_mim_trains_and_evaluates_a_task(tmp_path):
    pytest.importorskip('mim')
    pytest.importorskip('mmpretrain.models')
    write_market1501(tmp_path / 'people', SIZES['tiny'])
    weights = export(tmp_path, 1, four_blocks())
    work_dir = tmp_path / 'work'
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'mim', 'train', 'mmpretrain', REID, '--gpus', '1', '--yes'),
            *('--work-dir', work_dir, '--cfg-options', *reid_options(tmp_path / 'people')),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'SAIP_BACKBONE': 'vit-4blocks-p16',
            'SAIP_INIT': str(weights),
        },
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Training finished successfully' in done.stdout
    epoch, metrics = read_last_validation(work_dir)
    assert (epoch, metrics['reid/queries']) == (1, 12)
    assert 0 < metrics['reid/mAP'] <= 100
    # The classifier has learnt from random weights, the encoder goes on from the file's.
    before = load_checkpoint_file(weights)['state_dict']
    after = load_checkpoint_file(work_dir / 'epoch_1.pth')['state_dict']
    assert before.keys() < after.keys()
    moved = [float((after[key] - value).abs().max()) for key, value in before.items()]
    assert 0 < max(moved) < 1e-3
