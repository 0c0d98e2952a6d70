"""The configuration trains and is evaluated on scenes drawn by code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from saip.engine import launch
from saip.synthetic.formats import write_ade20k
from tests.tiny import STRIDE_16, KeptLosses
from tests.tiny import train as train_and_compare

from .small import CONFIG, ENCODERS, LOADERS, options

pytestmark = pytest.mark.usefixtures('fresh_mmengine', 'unformatted_configs')


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('scenes') / 'ADEChallengeData2016'
    write_ade20k(folder)
    return folder


def mean_iou(found: Path, annotated: Path) -> float:
    """Percent, from label maps in files; a pixel annotated 0 does not count, absent classes do not.

    By definition, with sets of pixels: a second implementation.
    """
    painted, true = [], []
    for path in sorted(annotated.iterdir()):
        labels = np.asarray(Image.open(path)).ravel()
        painted.append(np.asarray(Image.open(found / path.name)).ravel()[labels > 0])
        true.append(labels[labels > 0])
    ours, theirs = np.concatenate(painted), np.concatenate(true)
    shares = []
    for label in range(1, 151):
        one, other = ours == label, theirs == label
        if (one | other).any():
            shares.append((one & other).sum() / (one | other).sum())
    return 100 * float(np.mean(shares))


def test_the_loss_falls_and_the_metric_is_that_of_the_saved_maps(scenes, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    changes = options(tmp_path / 'work', scenes) | {
        'train_cfg.max_epochs': 8,
        'train_cfg.val_interval': 8,
        'default_hooks.checkpoint.interval': 8,
        'optim_wrapper.optimizer.lr': 2e-3,
        'optim_wrapper.paramwise_cfg.layer_decay_rate': 1.0,
    }
    cfg = launch.read_config(str(CONFIG), changes)
    cfg.param_scheduler = []
    runner, watch = Runner.from_cfg(cfg), KeptLosses()
    runner.register_hook(watch)
    runner.train()
    assert len(watch.losses) == 8 * 4
    assert np.mean(watch.losses[-4:]) < 0.8 * np.mean(watch.losses[:4])
    maps = tmp_path / 'maps'
    tested = launch.evaluate(
        str(CONFIG),
        str(tmp_path / 'work/epoch_8.pth'),
        options=changes | {'test_evaluator.output_dir': str(maps)},
    )
    assert tested['mIoU'] > 0
    expected = mean_iou(maps, scenes / 'annotations/validation')
    assert tested['mIoU'] == pytest.approx(expected, abs=0.006)
    validated = runner.message_hub.get_scalar('val/mIoU').current()
    assert tested['mIoU'] == pytest.approx(validated)


def test_ignored_pixels_give_no_loss(scenes, tmp_path, monkeypatch):
    """Whatever the label of an ignored pixel's place would be, nothing changes."""
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    cfg = launch.read_config(str(CONFIG), options(tmp_path, scenes))
    model = Runner.from_cfg(cfg).model.eval()
    data = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    batch = model.data_preprocessor(data, training=True)
    samples = batch['data_samples']
    ignored = [sample.gt_sem_seg.data == 255 for sample in samples]
    assert any(mask.any() for mask in ignored)
    assert all(sample.gt_sem_seg.data[~mask].max() < 150 for sample, mask in zip(
        samples, ignored, strict=True
    ))  # fmt: skip
    logits = model.decode_head(model.extract_feat(batch['inputs'])).detach().requires_grad_()
    terms = model.decode_head.loss_by_feat(logits, samples)
    terms['loss_ce'].backward()
    whole = torch.nn.functional.interpolate(logits, (64, 64), mode='bilinear')
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
    # mmsegmentation divides by all pixels, those that are ignored among them.
    expected = torch.nn.functional.cross_entropy(
        whole, labels, ignore_index=255, reduction='sum'
    )
    assert terms['loss_ce'].item() == pytest.approx(expected.item() / labels.numel(), rel=1e-5)
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize(
    'backbone', [*ENCODERS[:2], pytest.param(ENCODERS[2], marks=pytest.mark.slow), *STRIDE_16]
)
def test_two_steps_with_each_encoder(scenes, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = options(tmp_path, scenes) | {
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.indices': 4,
        'val_dataloader.dataset.indices': 2,
    }
    cfg = launch.read_config(str(CONFIG), changes)
    cfg.model.backbone.encoder.drop_path_rate = 0.0  # may drop a branch for a small batch
    cfg.param_scheduler = []
    runner = Runner.from_cfg(cfg)
    assert train_and_compare(runner) == []
    assert runner.iter == 2
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ENCODERS)
def test_real_size(scenes, tmp_path, monkeypatch, backbone):
    """Windows of 512 pixels in training, several of them in a test."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    small = options(tmp_path, scenes)
    data = {key: value for key, value in small.items() if key.startswith(LOADERS)}
    changes = {key: value for key, value in data.items() if 'pipeline' not in key}
    changes |= {
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.indices': 2,
        'val_dataloader.dataset.indices': 1,
        'work_dir': str(tmp_path),
    }
    cfg = launch.read_config(str(CONFIG), changes)
    runner = Runner.from_cfg(cfg)
    sizes = []
    runner.model.backbone.register_forward_pre_hook(
        lambda _, inputs: sizes.append(tuple(inputs[0].shape))
    )
    runner.train()
    assert runner.iter == 1
    # A step, then two windows beside each other of an image of 512 x 640.
    assert sizes == [(2, 3, 512, 512), *[(1, 3, 512, 512)] * 2]
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100
