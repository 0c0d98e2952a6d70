"""What the comparison's configs say: recipes, and reduced sizes."""

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from saip.registry import MODELS
from tests.test_comparisons.method_runs import CONFIGS

OURS = CONFIGS / 'saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
SAIP_RECIPE = sorted(CONFIGS.glob('*/*saip-recipe_lup1m.py'))
METHODS = ('dino', 'hap', 'mae', 'mae-dino', 'solider')
OWN_RECIPE = sorted(CONFIGS.glob('*/*orig-recipe_lup1m.py'))
PER_EPOCH = 10
LINEAR, COSINE = {'type': 'saip.LinearSchedule'}, {'type': 'saip.CosineSchedule'}


class Stated(NamedTuple):
    """A recipe as the authors of a method state it in their paper or released commands."""

    rate: float  # per 256 images
    batch: int
    warm_up: int  # epochs
    epochs: int
    end: float  # learning rate after the last epoch
    decay: tuple[float, float]  # of matrices, at the beginning and at the end
    betas: tuple[float, float]
    clip: float | None  # norm of the gradient of each tensor


OF_DINO = dict(end=1e-6, decay=(0.04, 0.4), betas=(0.9, 0.999), clip=3.0)
OF_MAE = dict(end=0.0, decay=(0.05, 0.05), betas=(0.9, 0.95), clip=None)
STATED = {
    'dino': Stated(5e-4, 1024, 10, 300, **OF_DINO),
    'mae-dino': Stated(5e-4, 1024, 10, 300, **OF_DINO),
    'mae-dino-lambda': Stated(5e-4, 1024, 10, 300, **OF_DINO),
    'mae': Stated(1.5e-4, 4096, 40, 800, **OF_MAE),
    'mae-lite': Stated(1.5e-4, 4096, 40, 400, **OF_MAE),
    'hap': Stated(1.5e-4, 4096, 40, 400, **OF_MAE),
    'solider': Stated(5e-4, 384, 10, 100, **OF_DINO),
    'dino of solider': Stated(5e-4, 384, 10, 100, **OF_DINO),
    'solider-from-dino': Stated(5e-5, 384, 1, 10, **OF_DINO),
}


def recipe_of(path: Path) -> str:
    preset = path.stem.split('_')[0]
    return (
        f'{preset} of solider' if (path.parent.name, preset) == ('solider', 'dino') else preset
    )


@pytest.mark.parametrize('path', SAIP_RECIPE, ids=lambda path: path.stem)
def test_the_common_recipe_is_that_of_saip(path):
    ours, cfg = Config.fromfile(OURS), Config.fromfile(path)
    cfg.train_dataloader.dataset.pop('keypoints', None)  # HAP's images come with them
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert cfg[key] == ours[key], key


def test_every_recipe_of_its_own_is_checked():
    assert {recipe_of(path) for path in OWN_RECIPE} == set(STATED)


@pytest.mark.parametrize('path', OWN_RECIPE, ids=lambda path: path.stem)
def test_a_recipe_of_its_own_is_as_stated(path):
    stated = STATED[recipe_of(path)]
    cfg = Config.fromfile(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'AdamW'
    assert optimizer.lr == pytest.approx(stated.rate * stated.batch / 256)
    assert tuple(optimizer.betas) == stated.betas
    assert optimizer.weight_decay == stated.decay[0]
    assert cfg.optim_wrapper.constructor == 'saip.NoBiasDecayConstructor'
    clip = None if stated.clip is None else {'type': 'per_tensor', 'max_norm': stated.clip}
    assert cfg.optim_wrapper.get('clip_grad') == clip
    assert cfg.auto_scale_lr.base_batch_size == stated.batch
    assert 8 * cfg.train_dataloader.batch_size == stated.batch
    linear, cosine, *_ = cfg.param_scheduler
    assert (linear.begin, linear.end) == (0, stated.warm_up)
    assert (cosine.begin, cosine.end) == (stated.warm_up, stated.epochs)
    assert cosine.T_max == stated.epochs - stated.warm_up
    assert cfg.train_cfg.max_epochs == stated.epochs


def settings_of_steps(cfg: Config) -> list[tuple[float, float]]:
    """(learning rate, weight decay) of every step of a run."""
    begin = {key: cfg.optim_wrapper.optimizer[key] for key in ('lr', 'weight_decay')}
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], **begin)
    schedules = []
    for entry in map(dict, cfg.param_scheduler):
        assert entry.pop('convert_to_iter_based')
        build = PARAM_SCHEDULERS.get(f'mmpretrain.{entry.pop("type")}').build_iter_from_epoch
        schedules.append(build(optimizer, **entry, epoch_length=PER_EPOCH))
    rows = []
    (group,) = optimizer.param_groups
    for _ in range(cfg.train_cfg.max_epochs * PER_EPOCH):
        rows.append((group['lr'], group['weight_decay']))
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return rows


@pytest.mark.parametrize(
    'path',
    [path for path in OWN_RECIPE if '_vit-tiny' in path.stem],
    ids=lambda path: path.stem,
)
def test_the_course_of_rate_and_decay(path):
    """Up a line and down half a cosine, and the weight decay's half a cosine, in closed form."""
    stated = STATED[recipe_of(path)]
    peak = stated.rate * stated.batch / 256
    first, last = stated.decay
    rows = settings_of_steps(Config.fromfile(path))
    assert len(rows) == stated.epochs * PER_EPOCH
    for step, (rate, decay) in enumerate(rows):
        epoch = step / PER_EPOCH
        since = (epoch - stated.warm_up) / (stated.epochs - stated.warm_up)
        wanted = stated.end + (peak - stated.end) * (1 + math.cos(math.pi * since)) / 2
        if epoch < stated.warm_up:  # which reaches its peak with its last step, not after it
            wanted = peak * (1e-6 + step / (stated.warm_up * PER_EPOCH - 1))
        assert abs(rate - wanted) < 2e-6 * peak
        share = (1 - math.cos(math.pi * epoch / stated.epochs)) / 2
        assert abs(decay - first - (last - first) * share) < 1e-6


@pytest.mark.parametrize(
    'preset',
    ['dino', 'mae-dino', 'solider/solider', 'solider/solider-from-dino', 'solider/dino'],
)
def test_what_is_dinos_in_a_method_is_as_stated(preset):
    """Views, projector, temperatures, momentum and stochastic depth; SOLIDER's own beside them."""
    folder, name = preset.split('/') if '/' in preset else (preset, preset)
    (path,) = (CONFIGS / folder).glob(f'{name}_vit-tiny-p16_*orig-recipe*')
    cfg = Config.fromfile(path)
    views = cfg.model.data_preprocessor.views
    jitter = dict(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    colors = dict(jitter=jitter, gray=0.2, flip=0.5)
    told = {'condition': 'semantic'} if 'solider' in name else {}
    crops = {'type': 'Crop', 'area': (0.8, 1.0), **told}
    assert tuple(cfg.model.data_preprocessor.size) == (256, 128)
    assert views.anchor == {**crops, 'augment': {**colors, 'blur': 1.0}}
    assert views.augmented == {**crops, 'augment': {**colors, 'blur': 0.1, 'solarize': 0.2}}
    small = {'number': 8, 'size': (128, 64), 'area': (0.05, 0.8)}
    assert views.local_crops == {**crops, **small, 'augment': {**colors, 'blur': 0.5}}
    assert cfg.model.backbone.drop_path_rate == 0.1
    cfg.model.pop('init_from', None)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    csm = model.objectives['csm']
    linear = [layer for layer in csm.neck.mlp if isinstance(layer, nn.Linear)]
    widths = [(layer.in_features, layer.out_features) for layer in linear]
    assert widths == [(192, 2048), (2048, 2048), (2048, 256)]
    assert tuple(csm.neck.prototypes.shape) == (65536, 256)
    assert (csm.loss_weight, csm.frozen_epochs) == (1.0, 1)
    assert (csm.head.student_temp, csm.head.center_momentum) == (0.1, 0.9)
    temperature = cfg.model.objectives.csm.head.teacher_temp
    if 'solider' in preset:  # whose command leaves the release's default, no warm-up
        assert temperature == 0.04
    else:
        assert temperature == {**LINEAR, 'start': 0.04, 'end': 0.07, 'epochs': 30}
    assert cfg.model.expert.momentum == {**COSINE, 'start': 0.996, 'end': 1.0}
    if 'solider' in name:
        parts = model.objectives['parts']
        assert views.semantic == {'type': 'Bernoulli', 'probability': 0.5}
        assert {views[f'{name}_semantic'].condition for name in ('anchor', 'augmented')} == {
            1.0
        }
        assert (parts.num_parts, parts.neck.out_channels, parts.loss_weight) == (3, 4, 1.0)


@pytest.mark.parametrize('method', METHODS)
def test_reduced_presets_have_the_sizes_of_saip_small(method, monkeypatch):
    monkeypatch.delenv('SAIP_KEYPOINTS', raising=False)
    folder = CONFIGS / '_base_/methods'
    ours, cfg = (Config.fromfile(folder / f'{n}-small.py').model for n in ('saip', method))
    views, theirs = ours.data_preprocessor.pop('views'), cfg.data_preprocessor.pop('views')
    assert cfg.data_preprocessor == ours.data_preprocessor
    told = {'condition': 'semantic'} if method == 'solider' else {}
    for name in ('anchor', 'augmented', 'local_crops'):
        assert name not in theirs or theirs[name] == {**views[name], **told}
    assert 'clean' not in theirs or theirs.clean.area == views.anchor.area
    assert (cfg.expert is None) is (method in ('hap', 'mae'))
    narrow = ours.objectives.csm.neck
    if cfg.expert is not None:
        assert cfg.expert == ours.expert
        assert cfg.objectives.csm.neck == narrow
        assert cfg.objectives.csm.head == ours.objectives.csm.head
        assert cfg.objectives.koleo == ours.objectives.koleo
    for name in {'mae', 'reconstruction'} & set(cfg.objectives):
        decoder, own = cfg.objectives[name].neck, ours.objectives.csr.neck
        assert {**decoder, 'type': own.type} == own
    if method == 'solider':
        classifier = cfg.objectives.parts.neck
        assert {**classifier, 'out_channels': narrow.out_channels} == narrow
    if method == 'hap':  # as many of 32 patches as the full size has of 128
        full = Config.fromfile(folder / 'hap.py').model.data_preprocessor.views.masked_a.mask
        for mask in (theirs.masked_a.mask, theirs.masked_b.mask):
            assert mask.ratio == full.ratio == 0.5
            assert (mask.min_patches, full.min_patches) == (4, 12)
