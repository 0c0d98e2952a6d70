"""The configuration trains and is evaluated on scenes drawn by code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from saip.engine import launch
from saip.synthetic.formats import write_coco
from tests.tiny import STRIDE_16, KeptLosses

from .brute_force import average_precision
from .small import CONFIG, ENCODERS, data_options, options

pytestmark = pytest.mark.usefixtures('fresh_mmengine', 'unformatted_configs')
TERMS = ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask')


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('scenes') / 'coco'
    write_coco(folder)
    return folder


def evaluate(checkpoint: Path, changes: dict, folder: Path) -> dict[str, float]:
    """Metrics of the shipped metric, with its results in files."""
    saved = {'test_evaluator.outfile_prefix': str(folder / 'found')}
    return launch.evaluate(str(CONFIG), str(checkpoint), options=changes | saved)


def compare(tested: dict[str, float], scenes: Path, folder: Path) -> None:
    """Compare with the second implementation on the saved results."""
    truth = scenes / 'annotations/instances_val2017.json'
    for kind in ('bbox', 'segm'):
        expected = average_precision(truth, folder / f'found.{kind}.json', kind == 'segm')
        # The metric keeps three digits.
        assert tested[f'coco/{kind}_mAP'] == pytest.approx(expected, abs=6e-4), kind


def test_the_loss_falls_and_the_metric_is_that_of_the_saved_results(
    scenes, tmp_path, monkeypatch
):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    changes = options(tmp_path / 'work', scenes) | {
        'train_cfg.max_epochs': 4,
        'train_cfg.val_interval': 4,
        'optim_wrapper.optimizer.lr': 1e-3,
        'optim_wrapper.paramwise_cfg.layer_decay_rate': 1.0,
        'model.test_cfg.rcnn.score_thr': 0.001,
        'default_hooks.checkpoint.interval': 4,
    }
    cfg = launch.read_config(str(CONFIG), changes)
    cfg.param_scheduler = []
    runner, watch = Runner.from_cfg(cfg), KeptLosses()
    runner.register_hook(watch)
    runner.train()
    assert len(watch.losses) == 4 * 4
    assert np.mean(watch.losses[-4:]) < 0.8 * np.mean(watch.losses[:4])
    tested = evaluate(tmp_path / 'work/epoch_4.pth', changes, tmp_path)
    compare(tested, scenes, tmp_path)


def displaced(samples: list) -> list[InstanceData]:
    """Annotated objects, some of them moved, doubled or called something else, with scores."""
    found = []
    for sample in samples:
        objects = sample.gt_instances
        every = torch.arange(len(objects)).repeat(2)
        boxes = objects.bboxes[every].clone()
        masks = torch.from_numpy(objects.masks.masks.astype(bool))[every]
        labels = objects.labels[every].clone()
        for place in range(len(every)):
            shift = 3 * (place % 4)
            boxes[place] += shift
            masks[place] = masks[place].roll(shift, dims=1)
            if place % 7 == 5:
                labels[place] = 26 if labels[place] == 0 else 0
        crowds = sample.ignored_instances
        if len(crowds):  # beside which detections do not count, wherever in them they are
            boxes = torch.cat([boxes, crowds.bboxes, crowds.bboxes * 0.98])
            inside = torch.from_numpy(crowds.masks.masks.astype(bool))
            masks = torch.cat([masks, inside, inside.roll(2, dims=0)])
            labels = torch.cat([labels, *[crowds.labels] * 2])
        scores = (boxes @ torch.tensor([0.37, 0.73, 0.11, 0.29])) % 1
        result = InstanceData(bboxes=boxes, labels=labels, scores=scores)
        result.masks = masks
        found.append(result)
    return found


def test_the_metric_with_crowds_is_the_definitions(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(
        StandardRoIHead,
        'predict',
        lambda head, x, proposals, samples, rescale: displaced(samples),
    )
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    # The training images, too: more objects, and a crowd.
    train = scenes / 'annotations/instances_train2017.json'
    for ann_file, prefix in (
        (train, 'train2017'),
        (scenes / 'annotations/instances_val2017.json', 'val2017'),
    ):
        changes = options(tmp_path / 'work', scenes) | {
            'test_dataloader.dataset.ann_file': str(ann_file),
            'test_dataloader.dataset.data_prefix.img': prefix,
            'test_evaluator.ann_file': str(ann_file),
        }
        checkpoint = tmp_path / 'any.pth'
        if not checkpoint.exists():
            runner = Runner.from_cfg(launch.read_config(str(CONFIG), changes))
            torch.save({'state_dict': runner.model.state_dict(), 'meta': {}}, checkpoint)
        tested = evaluate(checkpoint, changes, tmp_path)
        for kind in ('bbox', 'segm'):
            results = tmp_path / f'found.{kind}.json'
            expected = average_precision(ann_file, results, kind == 'segm')
            assert 0.05 < expected < 0.95
            assert tested[f'coco/{kind}_mAP'] == pytest.approx(expected, abs=6e-4), kind


@pytest.mark.parametrize('backbone', [*ENCODERS, *STRIDE_16])
def test_every_weight_to_learn_gets_a_gradient(scenes, tmp_path, monkeypatch, backbone):
    """DistributedDataParallel refuses others."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    cfg = launch.read_config(str(CONFIG), options(tmp_path, scenes))
    cfg.model.backbone.encoder.drop_path_rate = 0.0  # may drop a branch for a small batch
    model = Runner.from_cfg(cfg).model
    model.init_weights()
    data = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    losses = model.train()(**model.data_preprocessor(data, training=True), mode='loss')
    total, terms = model.parse_losses(losses)
    total.backward()
    assert {'loss', 'acc', *TERMS} == terms.keys()
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in learnt.items() if p.grad is None] == []
    for part in ('backbone.encoder.', 'backbone.levels.', 'neck.lateral_convs.', 'rpn_head.'):
        reached = [p.grad.any() for name, p in learnt.items() if name.startswith(part)]
        assert sum(reached) > 0.9 * len(reached) or (part == 'backbone.levels.' and not reached)


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ENCODERS)
def test_real_size(scenes, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = data_options(scenes) | {
        'train_dataloader.batch_size': 1,
        'train_dataloader.dataset.indices': 2,
        'val_dataloader.dataset.indices': 1,
        'train_cfg.max_epochs': 1,
        'work_dir': str(tmp_path),
    }
    runner = Runner.from_cfg(launch.read_config(str(CONFIG), changes))
    sizes = []
    runner.model.backbone.register_forward_pre_hook(
        lambda _, inputs: sizes.append(tuple(inputs[0].shape))
    )
    runner.train()
    assert runner.iter == 2
    # Images of 256 x 192: 800 pixels on the short side in the validation.
    assert sizes[2] == (1, 3, 800, 1088)
    assert all(min(size[2:]) >= 384 and max(size[2:]) <= 1344 for size in sizes)
    for term in TERMS:
        assert np.isfinite(runner.message_hub.get_scalar(f'train/{term}').current())
