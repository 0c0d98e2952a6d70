"""What the shipped configuration says."""

import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from saip.datasets.fashionpedia import CATEGORIES, NUM_ATTRIBUTES
from saip.engine import launch
from saip.errors import InputError
from tests.tiny import STRIDE_16

from .small import CONFIG, ENCODERS


@pytest.fixture
def cfg():
    return launch.read_config(str(CONFIG))


def build(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return ROOT_MODELS.build(cfg.model)


def test_images_become_rgb_with_the_statistics_of_the_pretraining(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocess = ROOT_MODELS.build(cfg.model.data_preprocessor)
    blue_green_red = torch.tensor([10, 20, 30], dtype=torch.uint8)  # as mmcv loads
    image = blue_green_red.view(3, 1, 1).expand(3, 64, 64)
    (result,) = preprocess(dict(inputs=[image], data_samples=None))['inputs']
    expected = [(30 - 123.675) / 58.395, (20 - 116.28) / 57.12, (10 - 103.53) / 57.375]
    assert result[:, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', ENCODERS)
def test_the_branches(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    model = build(launch.read_config(str(CONFIG))).eval()
    head = model.roi_head
    assert head.bbox_head.fc_cls.weight.shape == (len(CATEGORIES) + 2, 1024)
    assert head.bbox_head.fc_reg.out_features == 4 * (len(CATEGORIES) + 1)
    assert head.mask_head.conv_logits.out_channels == len(CATEGORIES) + 1
    assert head.bbox_roi_extractor.roi_layers[0].output_size == (7, 7)
    assert head.human_roi_extractor.roi_layers[0].output_size == (14, 14)
    assert head.attribute_head.knowledge.shape == (len(CATEGORIES), NUM_ATTRIBUTES)
    assert not head.attribute_head.has_knowledge


PLAIN = dict(lr=1e-4, size=896, largest=1.25, batch=1)
STAGED = dict(lr=5e-4, size=1024, largest=1.5, batch=2)


@pytest.mark.parametrize('name', [*ENCODERS, *STRIDE_16])
def test_plain_encoders_and_those_with_stages_train_differently(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = launch.read_config(str(CONFIG))
    expected = PLAIN if name.startswith('vit') else STAGED
    resize = cfg.train_dataloader.dataset.pipeline[2]
    found = dict(
        lr=cfg.optim_wrapper.optimizer.lr,
        size=resize.scale[0],
        largest=resize.ratio_range[1],
        batch=cfg.train_dataloader.batch_size,
    )
    assert found == expected
    assert resize.scale[1] == resize.scale[0]
    assert resize.ratio_range[0] == 0.5
    assert cfg.auto_scale_lr.base_batch_size == 8 * expected['batch']


def test_the_protocol(cfg):
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.05)
    assert 'paramwise_cfg' not in cfg.optim_wrapper
    assert 'clip_grad' not in cfg.optim_wrapper
    assert cfg.train_cfg.max_epochs == 32
    assert cfg.param_scheduler[0].end == 500
    assert cfg.param_scheduler[1].milestones == [26, 30]
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1024, 1024)
    rcnn = cfg.model.test_cfg.rcnn
    assert (rcnn.score_thr, rcnn.nms.iou_threshold, rcnn.max_per_img) == (0.05, 0.5, 100)
    assert build(cfg).roi_head.attribute_score_thr == 0.3


def test_no_box_to_learn_from_is_refused(cfg):
    cfg.model.roi_head.max_garments = 0
    with pytest.raises(InputError, match='max_garments=0; at least 1'):
        build(cfg)


def test_another_number_of_classes_is_refused(cfg):
    cfg.model.roi_head.bbox_head.num_classes = 46
    with pytest.raises(
        InputError, match='num_classes=46, not 47: the categories of Fashionped'
    ):
        build(cfg)
