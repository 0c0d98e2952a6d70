"""The shipped configuration: its encoders, its schedule, a short run, an interrupted run."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner
from mmseg.datasets import LIPDataset

from saip.engine import launch
from saip.registry import MODELS
from saip.synthetic import formats
from tests.tiny import STRIDE_16, train

from .lip_files import SIZES, write_lip
from .small import CONFIG, SETTINGS, config, without_chance

ENCODERS = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')


@pytest.fixture(scope='module')
def lip(tmp_path_factory):
    return write_lip(tmp_path_factory.mktemp('data') / 'LIP')


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn') / 'LIP'
    formats.write_lip(folder)
    return folder


@pytest.mark.parametrize(('path', 'size'), [(CONFIG, (576, 384)), (SETTINGS, (480, 480))])
@pytest.mark.parametrize('name', ENCODERS)
def test_the_head_takes_the_maps_of_each_encoder(name, path, size, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    assert model.decode_head.in_channels == model.backbone.pyramid_channels
    assert model.backbone.encoder.img_size == size
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        (fit,) = [s for s in loader.dataset.pipeline if s.type == 'saip.PersonAffine']
        assert tuple(fit.size) == size


def test_pairs_to_swap_are_left_and_right_of_the_same():
    cfg = Config.fromfile(CONFIG)
    (flip,) = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'RandomFlip']
    names = LIPDataset.METAINFO['classes']
    left = [name for name in names if name.startswith('Left-')]
    expected = [
        (names.index(name), names.index(name.replace('Left-', 'Right-'))) for name in left
    ]
    assert [tuple(pair) for pair in flip.swap_seg_labels] == expected


@pytest.mark.parametrize(
    ('loader', 'pattern'),
    [
        (dict(batch_size=1), r'train_dataloader\.batch_size=1: .* two images or more'),
        (dict(batch_size=3, drop_last=False), r'batch_size=3: the last batch .*drop_last=True'),
    ],
)
def test_a_batch_of_one_image_stops_before_the_first_step(
    loader, pattern, lip, tmp_path, fresh_mmengine
):
    cfg = config(lip, tmp_path / 'work')
    cfg.train_dataloader.update(loader)
    path = tmp_path / 'one.py'
    cfg.dump(path)
    with pytest.raises(launch.StartError, match=pattern):
        launch.train(str(path))
    assert not list((tmp_path / 'work').glob('*.pth'))


def learning_rates(cfg) -> list[float]:
    """As the Runner's hook steps them, one per epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    wrapper = OptimWrapper(optimizer)
    schedulers = [
        PARAM_SCHEDULERS.build(item, default_args=dict(optimizer=wrapper))
        for item in cfg.param_scheduler
    ]
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ('path', 'warmup', 'first', 'low'), [(CONFIG, 30, 120, 1 / 500), (SETTINGS, 10, 100, 0.01)]
)
def test_learning_rate_rises_falls_and_cycles(path, warmup, first, low):
    rates = learning_rates(Config.fromfile(path))
    assert len(rates) == 150
    assert rates[0] == pytest.approx(low)
    assert rates[warmup - 1] == pytest.approx(1.0)

    def falling(high, at):
        return low + (high - low) * (1 + math.cos(math.pi * at)) / 2

    for epoch in range(warmup, first):
        expected = falling(1.0, (epoch - warmup) / (first - warmup))
        assert rates[epoch] == pytest.approx(expected), epoch
    for epoch in range(first, 150):
        assert rates[epoch] == pytest.approx(falling(0.5, epoch % 10 / 10)), epoch


@pytest.mark.parametrize(
    ('path', 'scale', 'warmup', 'ends'),
    [
        (CONFIG, '0.25', 8, [30, 33, 35, 38]),
        (CONFIG, '0.5', 15, [60, 65, 70, 75]),
        (CONFIG, '0.75', 23, [90, 98, 105, 113]),
        (CONFIG, '1', 30, [120, 130, 140, 150]),
        (SETTINGS, '0.25', 3, [25, 28, 30, 33, 35, 38]),
        (SETTINGS, '1', 10, [100, 110, 120, 130, 140, 150]),
    ],
)
def test_one_switch_scales_epochs_warmup_and_cycles(monkeypatch, path, scale, warmup, ends):
    monkeypatch.setenv('SAIP_SCHEDULE', scale)
    cfg = Config.fromfile(path)
    assert list(cfg.custom_hooks[0].epochs) == ends
    assert cfg.train_cfg.max_epochs == ends[-1]
    first, second, third = cfg.param_scheduler
    assert (first.end, second.begin, second.end, third.begin) == (warmup, warmup, *ends[:1] * 2)
    rates = learning_rates(cfg)
    assert [rates[end] for end in ends[:-1]] == pytest.approx([0.5] * (len(ends) - 1))


def two_iterations_and_an_evaluation(folder, work_dir, images, real_size):
    cfg = config(
        folder,
        work_dir,
        real_size,
        param_scheduler=[],
        train_cfg=dict(max_epochs=1, val_interval=1),
        custom_hooks=[dict(type='saip.SelfCorrectionHook', epochs=[1])],
        train_dataloader=dict(dataset=dict(indices=4)),
        val_dataloader=dict(dataset=dict(indices=images)),
        test_dataloader=dict(dataset=dict(indices=images)),
    )
    cfg.model.backbone.encoder.drop_path_rate = 0.0  # may drop a branch for a small batch
    runner = Runner.from_cfg(cfg)
    assert train(runner) == []
    assert runner.iter == 2
    history = runner.message_hub
    for term in ('parts', 'lovasz', 'edges', 'consistency'):
        assert math.isfinite(history.get_scalar(f'train/loss_{term}').current())
    scores = {
        key: history.get_scalar(f'val/{key}').current() for key in ('mIoU', 'mAcc', 'aAcc')
    }
    assert all(0 <= value <= 100 for value in scores.values())
    assert runner.model.cycles == 1
    tested = runner.test()
    assert {key: tested[key] for key in scores} == pytest.approx(scores)
    assert 0 <= tested['multi_scale/mIoU'] <= 100


@pytest.mark.sampled(3)
@pytest.mark.parametrize('name', [*ENCODERS, 'starnet-s3-os16', STRIDE_16[1]])
def test_two_iterations_and_an_evaluation(drawn, tmp_path, monkeypatch, fresh_mmengine, name):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    two_iterations_and_an_evaluation(drawn, tmp_path, images=8, real_size=False)


@pytest.mark.slow
@pytest.mark.parametrize('name', ENCODERS)
def test_real_size(drawn, tmp_path, monkeypatch, fresh_mmengine, name):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    two_iterations_and_an_evaluation(drawn, tmp_path, images=2, real_size=True)


def test_predictions_are_scored_on_the_images_as_they_are(lip, tmp_path, fresh_mmengine):
    cfg = config(lip, tmp_path)
    runner = Runner.from_cfg(cfg)
    seen = []
    process = type(runner.test_evaluator).process

    def keep(self, data_samples, data_batch=None):
        seen.extend(data_samples)
        process(self, data_samples, data_batch)

    runner.test_evaluator.process = keep.__get__(runner.test_evaluator)
    scores = runner.test()
    assert [tuple(s.pred_sem_seg.shape) for s in seen] == SIZES['val']
    right = [(s.pred_sem_seg.data == s.gt_sem_seg.data).flatten() for s in seen]
    share = torch.cat(right).double().mean().item()
    assert scores['aAcc'] == pytest.approx(100 * share, abs=0.006)


def run(lip: Path, work_dir: Path, resume_from: Path | None = None) -> Runner:
    """Five epochs with nothing random, cycles after the first, third and fifth."""
    cfg = config(
        lip,
        work_dir,
        train_cfg=dict(max_epochs=5),
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, begin=0, end=4)],
        custom_hooks=[dict(type='saip.SelfCorrectionHook', epochs=[1, 3, 5])],
        default_hooks=dict(
            checkpoint=dict(interval=1, max_keep_ckpts=-1, save_best=None),
        ),
        load_from=str(resume_from) if resume_from else None,
        resume=resume_from is not None,
    )
    without_chance(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_resuming_in_the_middle_of_a_cycle_ends_as_the_whole_run(lip, tmp_path, fresh_mmengine):
    whole = run(lip, tmp_path / 'whole').model.state_dict()
    stored = torch.load(tmp_path / 'whole/epoch_2.pth', weights_only=True)['state_dict']
    assert stored['averaged.steps'] == 1
    key = 'averaged.module.decode_head.conv_seg.weight'
    assert not torch.equal(stored[key], stored['decode_head.conv_seg.weight'])
    resumed = run(lip, tmp_path / 'resumed', tmp_path / 'whole/epoch_2.pth').model.state_dict()
    assert whole['averaged.steps'] == 3
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-7, msg=name)
    # The whole run's average is the mean of the three ends, which are on the disk.
    ends = [
        torch.load(tmp_path / f'whole/epoch_{n}.pth', weights_only=True)['state_dict']
        for n in (1, 3, 5)
    ]
    mean = torch.stack([end['decode_head.conv_seg.weight'] for end in ends]).mean(0)
    torch.testing.assert_close(whole[key], mean, rtol=0, atol=1e-6)
