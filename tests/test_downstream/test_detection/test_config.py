"""What the shipped configuration says, where its base says something else."""

import pytest
import torch
from mmengine.hub import get_config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from saip.engine import launch
from saip.engine.preflight import ConflictError

from .small import CONFIG, ENCODERS


@pytest.fixture
def cfg():
    return launch.read_config(str(CONFIG))


def nested(node):
    """All dicts of a configuration."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nested(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from nested(value)


def test_no_operator_of_torchvision(cfg):
    found = [node['use_torchvision'] for node in nested(cfg.model) if 'use_torchvision' in node]
    assert found == [False]


def test_images_become_rgb_with_the_statistics_of_the_pretraining(cfg):
    cfg.model.data_preprocessor.batch_augments = None
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocess = ROOT_MODELS.build(cfg.model.data_preprocessor)
    blue_green_red = torch.tensor([10, 20, 30], dtype=torch.uint8)  # as mmcv loads
    image = blue_green_red.view(3, 1, 1).expand(3, 64, 64)
    (result,) = preprocess(dict(inputs=[image], data_samples=None))['inputs']
    expected = [(30 - 123.675) / 58.395, (20 - 116.28) / 57.12, (10 - 103.53) / 57.375]
    assert result[:, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', ENCODERS)
def test_five_levels_at_the_strides_of_the_anchors(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = launch.read_config(str(CONFIG))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(cfg.model).eval()
    assert cfg.model.neck.in_channels == model.backbone.pyramid_channels
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, 64, 128))
    strides = cfg.model.rpn_head.anchor_generator.strides
    assert [tuple(m.shape) for m in maps] == [(1, 256, 64 // s, 128 // s) for s in strides]
    assert model.backbone.strides == tuple(model.roi_head.bbox_roi_extractor.featmap_strides)


def test_the_protocol(cfg):
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('AdamW', 2e-4)
    # 8 processes with 2 images are the batch that the learning rate is for.
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.model.data_preprocessor.batch_augments[0].scale == (1400, 800)
    # The metric compares with the lines of the file in their order.
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.sampler.shuffle is False
        assert loader.dataset.pipeline[1].scale == (1400, 800)


@pytest.mark.parametrize(
    ('scale', 'epochs', 'milestones', 'warmup', 'interval'),
    [
        ('0.25', 8, [6, 7], 200, 1),
        ('0.5', 15, [12, 14], 400, 2),
        ('0.75', 23, [18, 20], 600, 2),
        ('1', 30, [24, 27], 800, 3),
    ],
)
def test_one_switch_scales_all(monkeypatch, scale, epochs, milestones, warmup, interval):
    monkeypatch.setenv('SAIP_SCHEDULE', scale)
    cfg = launch.read_config(str(CONFIG))
    first, second = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, second.end, second.milestones) == (
        epochs,
        epochs,
        milestones,
    )
    assert (first.by_epoch, first.end) == (False, warmup)
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == interval


def test_annotations_of_the_metric_are_those_of_the_data(monkeypatch):
    monkeypatch.setenv('SAIP_DATA', '/somewhere')
    cfg = launch.read_config(str(CONFIG))
    for loader, evaluator in (
        (cfg.val_dataloader, cfg.val_evaluator),
        (cfg.test_dataloader, cfg.test_evaluator),
    ):
        assert evaluator.ann_file == f'{loader.dataset.data_root}/{loader.dataset.ann_file}'


def test_other_annotations_for_the_set_than_for_the_metric_are_refused():
    options = {'val_dataloader.dataset.ann_file': 'subset.odgt'}
    with pytest.raises(
        ConflictError,
        match=r'val_dataloader\.dataset\.ann_file is data/CrowdHuman/subset\.odgt, but '
        r'val_evaluator\.ann_file data/CrowdHuman/annotation_val\.odgt: .* set both keys',
    ):
        launch.train(str(CONFIG), options=options)
    options = {'test_evaluator.ann_file': '/other/annotation_val.odgt'}
    with pytest.raises(ConflictError, match=r'test_evaluator\.ann_file /other/annotation_val'):
        launch.evaluate(str(CONFIG), 'none.pth', options=options)


def test_all_keys_of_the_base_that_are_replaced_are_there(cfg):
    """A renamed key of the base would leave ours without an effect."""
    base = get_config('mmdet::crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py')
    assert base.model.data_preprocessor.keys() == cfg.model.data_preprocessor.keys()
    assert base.model.roi_head.bbox_head.keys() == cfg.model.roi_head.bbox_head.keys()
    assert base.model.roi_head.bbox_roi_extractor.roi_layer.use_torchvision is True


def test_without_mmdetection_its_name_is_said(monkeypatch):
    monkeypatch.setattr('mmengine.config.config.is_installed', lambda name: name != 'mmdet')
    with pytest.raises(launch.StartError, match=f'{CONFIG}: mmdet is not installed'):
        launch.read_config(str(CONFIG))
