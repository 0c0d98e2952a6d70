"""What the shipped configuration says."""

import numpy as np
import pytest
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TRANSFORMS, DefaultScope

from saip.engine import launch
from tests.tiny import LARGE

from .small import CONFIG, ENCODERS

# Rate, layer decay and stochastic depth.
EXPECTED = {
    'vit-tiny-p16': (3e-4, 0.75, 0.2),
    'vit-base-p16': (3e-4, 0.75, 0.2),
    'vit-large-p16': (2e-4, 0.85, 0.2),
    'starnet-s3': (3e-4, 1.0, 0.0),
    'tinyvit-5m': (3e-4, 1.0, 0.0),
}


@pytest.mark.parametrize('name', EXPECTED)
def test_every_encoder_trains_by_its_settings(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = launch.read_config(str(CONFIG))
    encoder = cfg.model.backbone.encoder
    found = (
        cfg.optim_wrapper.optimizer.lr,
        cfg.optim_wrapper.paramwise_cfg.layer_decay_rate,
        encoder.get('drop_path_rate', 0.0),
    )
    assert found == EXPECTED[name]
    plain = name.startswith('vit')
    assert cfg.model.backbone.type == ('saip.TapPyramid' if plain else 'saip.FeaturePyramid')
    assert 'relative_position' not in encoder  # CAE's code has none here
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 32
    if name in LARGE:  # too large to be built here
        assert cfg.model.neck.in_channels == [encoder.arch.embed_dims] * 4


@pytest.mark.parametrize('name', ENCODERS)
def test_the_branches(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = launch.read_config(str(CONFIG))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(cfg.model)
    assert cfg.model.neck.in_channels == model.backbone.pyramid_channels
    box, mask = model.roi_head.bbox_head, model.roi_head.mask_head
    assert len(box.shared_convs) == 4
    assert all(type(conv.norm).__name__ == 'BatchNorm2d' for conv in box.shared_convs)
    assert [layer.out_features for layer in box.shared_fcs] == [1024]
    assert (box.fc_cls.out_features, box.fc_reg.out_features) == (81, 4 * 80)
    assert mask.conv_logits.out_channels == 80
    assert type(box.loss_bbox).__name__ == 'GIoULoss'
    assert (box.loss_bbox.loss_weight, box.reg_decoded_bbox) == (10, True)


def test_layer_scale_and_fixed_positions_of_cae(monkeypatch):
    monkeypatch.setenv('SAIP_LAYER_SCALE', '0.1')
    encoder = launch.read_config(str(CONFIG)).model.backbone.encoder
    assert (encoder.layer_scale, encoder.pos_init) == (0.1, 'sincos')


def test_images_are_as_large_as_in_the_code_of_cae():
    """480 to 800 pixels on the short side, at most 1333, of the whole image or of a window."""
    cfg = launch.read_config(str(CONFIG))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        choice = TRANSFORMS.build(cfg.train_dataloader.dataset.pipeline[3])
    np.random.seed(0)  # noqa: NPY002 (what the libraries draw with)
    whole, cut = 0, 0
    sides = set()
    for _ in range(60):
        image = np.zeros((60, 90, 3), np.uint8)
        boxes = np.array([[0, 0, 90, 60]], np.float32)
        found = choice(
            dict(
                img=image,
                img_shape=(60, 90),
                gt_bboxes=boxes,
                gt_bboxes_labels=np.array([0]),
                gt_ignore_flags=np.array([False]),
            )
        )
        height, width = found['img'].shape[:2]
        assert max(height, width) <= 1333
        is_whole = abs(width / height - 1.5) < 0.01
        whole, cut = whole + is_whole, cut + (not is_whole)
        if is_whole:
            sides.add(height)
    assert sides <= set(range(480, 801, 32))
    assert len(sides) > 6
    assert min(whole, cut) > 15
