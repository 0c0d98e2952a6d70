"""What the shipped configuration says, and what its head is."""

import math

import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from saip.downstream.human_parsing import GCEHead
from saip.engine import launch
from saip.errors import InputError

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
def test_five_levels_and_parts_from_the_finest(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = launch.read_config(str(CONFIG))
    model = build(cfg).eval()
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, 64, 128))
    strides = cfg.model.rpn_head.anchor_generator.strides
    assert [tuple(m.shape) for m in maps] == [(1, 256, 64 // s, 128 // s) for s in strides]
    extractor = model.roi_head.mask_roi_extractor
    assert extractor.featmap_strides == [4]
    assert extractor.roi_layers[0].output_size == (32, 32)
    assert model.roi_head.bbox_head.fc_cls.out_features == 2


def test_the_protocol(cfg):
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 2e-4, 1e-4)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_cfg.max_epochs == 25
    assert cfg.param_scheduler[1].milestones == [20]
    assert cfg.optim_wrapper.clip_grad.max_norm == 0.1
    # Pictures are tested at one of the sizes of the training.
    sizes = cfg.train_dataloader.dataset.pipeline[2].scales
    assert cfg.test_dataloader.dataset.pipeline[1].scale in sizes


def test_the_encoder_learns_at_a_tenth_and_what_is_new_at_the_rate(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        from mmengine.optim import build_optim_wrapper

        model = build(cfg)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {id(p): group['lr'] for group in wrapper.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = 2e-5 if name.startswith('backbone.encoder.') else 2e-4
            assert rates[id(parameter)] == pytest.approx(expected), name


def test_the_head_has_the_layers_of_parsing_rcnn():
    head = GCEHead()
    convolutions = {
        'pooling': 2 * 256 * 257 + 3 * 256 * (9 * 256 + 1),
        'project': 512 * (5 * 256 + 1),
        'non-local': 4 * 512 * 513 + 2 * 512 - 512,  # the last has a norm in place of a bias
        'convs': 4 * 512 * (9 * 512 + 1),
        'deconvolution': 20 * (16 * 512 + 1),
    }
    assert sum(p.numel() for p in head.parameters()) == sum(convolutions.values())
    with torch.no_grad():
        assert head(torch.zeros(2, 256, 32, 32)).shape == (2, 20, 128, 128)


def test_a_new_head_says_little_and_boxes_are_independent():
    torch.manual_seed(0)
    head = GCEHead(in_channels=16, branch_channels=8, channels=32)
    head.init_weights()
    features = torch.randn(3, 16, 8, 8)
    with torch.no_grad():
        logits = head(features)
        assert torch.allclose(head(features[1:2]), logits[1:2], atol=1e-6)
    assert logits.std() < 0.1
    # Twice the cross-entropy of twenty labels that are about equally probable.
    targets = torch.randint(0, 20, (3, 32, 32))
    assert head.loss(logits, targets).item() == pytest.approx(2 * math.log(20), rel=0.02)


def test_the_loss_is_the_mean_over_boxes_and_cells():
    head = GCEHead(in_channels=16, branch_channels=8, channels=32, num_parts=3)
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    targets = torch.randint(0, 3, (2, 4, 4))
    cells = [
        -logits[r, :, i, j].log_softmax(0)[targets[r, i, j]]
        for r in range(2) for i in range(4) for j in range(4)
    ]  # fmt: skip
    expected = 2 * sum(cells).item() / len(cells)
    assert head.loss(logits, targets).item() == pytest.approx(expected, rel=1e-6)


def test_no_box_to_learn_from_is_refused(cfg):
    cfg.model.roi_head.max_parsed = 0
    with pytest.raises(InputError, match='max_parsed=0; at least 1'):
        build(cfg)
