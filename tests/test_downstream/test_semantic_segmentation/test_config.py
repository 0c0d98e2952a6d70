"""What the shipped configurations say."""

import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

from saip.engine import launch
from tests.tiny import LARGE

from .small import CONFIG, ENCODERS, FOLDER

# Rate, layer decay, stochastic depth and width of the head.
EXPECTED = {
    'vit-tiny-p16': (1e-4, 0.65, 0.1, 512),
    'vit-base-p16': (1e-4, 0.65, 0.1, 768),
    'vit-large-p16': (4e-5, 0.95, 0.15, 1024),
    'starnet-s3': (1e-4, 1.0, 0.0, 512),
    'tinyvit-5m': (1e-4, 1.0, 0.0, 512),
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
        cfg.model.decode_head.channels,
    )
    assert found == EXPECTED[name]
    plain = name.startswith('vit')
    assert cfg.model.backbone.type == ('saip.TapPyramid' if plain else 'saip.FeaturePyramid')
    assert encoder.get('relative_position', False) == plain
    assert encoder.img_size == (512, 512)


@pytest.mark.parametrize('rate', [3e-4, 2e-4])
def test_other_rates_change_nothing_else(rate):
    one = launch.read_config(str(CONFIG)).to_dict()
    leaf = FOLDER / f'upernet-lr{rate:.0e}_ade20k.py'.replace('e-0', 'e-')
    other = launch.read_config(str(leaf)).to_dict()
    assert other['optim_wrapper']['optimizer'].pop('lr') == rate
    assert one['optim_wrapper']['optimizer'].pop('lr') == 1e-4
    assert one.pop('work_dir') != other.pop('work_dir')
    assert one == other


def test_layer_scale_and_fixed_positions_of_cae(monkeypatch):
    assert 'layer_scale' not in launch.read_config(str(CONFIG)).model.backbone.encoder
    monkeypatch.setenv('SAIP_LAYER_SCALE', '1e-5')
    encoder = launch.read_config(str(CONFIG)).model.backbone.encoder
    assert (encoder.layer_scale, encoder.pos_init) == (1e-5, 'sincos')


@pytest.mark.parametrize('name', [*ENCODERS, *LARGE])
def test_the_heads_take_the_maps_of_each_encoder(name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = launch.read_config(str(CONFIG))
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 150
    width = cfg.model.decode_head.in_channels
    assert cfg.model.auxiliary_head.in_channels == width[2]
    if name in LARGE:  # too large to be built here
        assert width == [cfg.model.backbone.encoder.arch.embed_dims] * 4
        return
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(cfg.model)
    assert width == model.backbone.pyramid_channels


def test_the_rate_warms_up_within_a_straight_line_to_zero():
    """Both act at once, as in the code of CAE: the line begins with the first step."""
    cfg = launch.read_config(str(CONFIG))
    assert abs(cfg.train_cfg.max_epochs * (20_210 // 16) - 160_000) < 20_210 // 16
    steps = 40  # of a small epoch
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    made = []
    for item in cfg.param_scheduler:
        options = dict(item)
        if options.pop('convert_to_iter_based', False):
            options.update(by_epoch=False, end=options['end'] * steps)
        made.append(PARAM_SCHEDULERS.build(options, default_args=dict(optimizer=optimizer)))
    whole = cfg.train_cfg.max_epochs * steps
    rates = []
    for _ in range(whole):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in made:
            scheduler.step()
    for step in (0, 10, 700, 1499, 1500, 3000, whole - 1):
        warm = min(1e-6 + (1 - 1e-6) * step / 1499, 1)
        assert rates[step] == pytest.approx(warm * (1 - step / (whole - 1)), rel=1e-3), step


def test_positions_norms_and_biases_do_not_decay(monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    options = launch.read_config(str(CONFIG)).optim_wrapper.paramwise_cfg
    assert options.flat_decay_mult == 0
    assert options.custom_keys.pos_embed.decay_mult == 0
