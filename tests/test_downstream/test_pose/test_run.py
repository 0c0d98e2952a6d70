"""The configurations train and evaluate on tiny people."""

import math

import pytest
import torch
from mmengine.runner import Runner
from mmpose.models.heads import HeatmapHead

from saip.engine import launch
from tests.tiny import STRIDE_16, train

from .small import ENCODERS, TASKS, path, resized, short

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def train_and_evaluate(task, options, folder):
    """An epoch of two steps, an evaluation in it, and the test."""
    prefix = TASKS[task].prefix
    cfg = launch.read_config(path(task), options)
    runner = Runner.from_cfg(cfg)
    assert train(runner) == []
    assert runner.iter == 2
    history = runner.message_hub
    assert math.isfinite(history.get_scalar('train/loss_kpt').current())
    for name in ('AP', 'AR'):
        assert 0 <= history.get_scalar(f'val/{prefix}/{name}').current() <= 1
    assert list(folder.glob('best_*')) == [folder / f'best_{prefix}_AP_epoch_1.pth']
    found = runner.test()
    assert 0 <= found[f'{prefix}/AP'] <= found[f'{prefix}/AR'] <= 1
    if task not in ('ap10k', 'chimpact'):  # which are tested on another part
        assert found[f'{prefix}/AP'] == history.get_scalar(f'val/{prefix}/AP').current()


@pytest.mark.sampled(4)
@pytest.mark.parametrize('backbone', [*ENCODERS, *STRIDE_16])
@pytest.mark.parametrize('task', TASKS)
def test_two_steps_and_an_evaluation(drawn, tmp_path, monkeypatch, task, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    train_and_evaluate(task, resized(task) | short(tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ENCODERS)
@pytest.mark.parametrize('task', TASKS)
def test_two_steps_and_an_evaluation_at_the_real_size(
    drawn, tmp_path, monkeypatch, task, backbone
):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    train_and_evaluate(task, short(tmp_path, batch=2, samples=4), tmp_path)


@pytest.mark.usefixtures('one_process_group')
@pytest.mark.parametrize(
    ('backbone', 'amp', 'computed'),
    [
        ('vit-4blocks-p16', False, torch.float32),
        ('vit-4blocks-p16', True, torch.bfloat16),
        # On a CPU bfloat16 is not safe for its strided convolutions.
        ('starnet-s3', True, torch.float32),
    ],
)
def test_it_trains_in_a_process_group_and_in_bfloat16(
    drawn, tmp_path, monkeypatch, backbone, amp, computed
):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    seen = []
    forward = HeatmapHead.forward

    def watched(head, feats):
        heatmaps = forward(head, feats)
        seen.append((head.final_layer.weight.dtype, heatmaps.dtype))
        return heatmaps

    monkeypatch.setattr(HeatmapHead, 'forward', watched)
    options = resized('coco') | short(tmp_path)
    launch.train(path('coco'), options=options, launcher='pytorch', amp=amp, validate=False)
    assert seen == [(torch.float32, computed)] * 2
    assert (tmp_path / 'epoch_1.pth').is_file()
