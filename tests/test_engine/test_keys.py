"""Misspelt keys are refused with the right one; valid ones are not."""

import copy
import inspect
import random
import runpy
import sys
import time

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.runner import Runner
from mmengine.runner.log_processor import LogProcessor
from torch.utils.data import DataLoader

from saip.engine.keys import ConfigKeyError, is_slip
from saip.engine.keys.signatures import arguments_of, keys_read
from saip.engine.launch import read_config
from saip.engine.preflight import check_config, check_options, check_parts
from tests.tiny import ROOT

PRETRAIN = ROOT / 'configs/pretrain'
FOLDER = PRETRAIN / 'saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py'
STAR = PRETRAIN / 'saip/saip_starnet-s3_8xb256-amp-coslr-300e_lup1m.py'
LITE = PRETRAIN / 'mae/mae-lite_vit-tiny-p16_8xb512-amp-coslr-400e-orig-recipe_lup1m.py'
REID = ROOT / 'configs/downstream/reid/transreid_market1501.py'
PARTS = ROOT / 'configs/downstream/part_segmentation/schp_lip.py'


@pytest.fixture
def inherit(tmp_path):
    """Write a configuration that inherits one of ours and return its path."""

    def write(base, text: str) -> str:
        path = tmp_path / 'mine.py'
        path.write_text(f'_base_ = {str(base)!r}\n{text}\n')
        return str(path)

    return write


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('max_noorm', 'max_norm'),
        ('max_nrm', 'max_norm'),
        ('checkpiont', 'checkpoint'),
        ('embed_dimz', 'embed_dims'),
        ('embeddims', 'embed_dims'),
        ('embedDims', 'embed_dims'),
        ('tpye', 'type'),
    ],
)
def test_a_slip(name, meant):
    assert is_slip(name, meant)
    assert is_slip(meant, name)


@pytest.mark.parametrize(
    ('name', 'other'),
    [
        ('lr', 'lr'),
        ('masked_a', 'masked_b'),
        ('q_bias', 'v_bias'),
        ('crop', 'crop2'),
        ('local_1', 'local_12'),
        ('csm', 'css'),
        ('mean', 'std'),
        ('begin', 'bgeni'),  # two slips
        ('drop_rate', 'drop_path_rate'),
    ],
)
def test_no_slip(name, other):
    assert not is_slip(name, other)


class Parent:
    def __init__(self, width, **rest):
        self.depth = rest.pop('depth', 3)
        if 'old' in rest:
            raise TypeError('old')
        if rest:
            raise TypeError(rest)


class Child(Parent):
    def __init__(self, height, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Closed(Parent):
    def __init__(self, height):
        super().__init__(width=height)


class Elsewhere(Child):
    def __init__(self, name, **kwargs):
        super().__init__(height=1, width=2)
        self.made = dict(**kwargs)


def test_arguments_are_those_of_the_parents_that_get_the_rest():
    assert arguments_of(Child).names == {'height', 'width', 'depth', 'old'}
    assert arguments_of(Closed).names == {'height'}
    assert not arguments_of(Closed).any_other


def test_arguments_that_go_elsewhere_may_be_any():
    """``dict(**kwargs)`` could be a network of another library."""
    found = arguments_of(Elsewhere)
    assert found.names == {'name'}
    assert found.any_other


def test_arguments_of_a_module_are_closed():
    class Line(torch.nn.Linear):
        def __init__(self, gain: float = 1.0, **kwargs) -> None:
            super().__init__(**kwargs)

    found = arguments_of(Line)
    assert {'gain', 'in_features', 'out_features', 'bias'} <= found.names
    assert not found.any_other


def test_keys_read_of_a_dict():
    class Reads:
        def __init__(self, settings):
            self.settings = settings
            self.a = settings.get('a', 1)

        def __call__(self):
            return self.settings['b'] if 'c' in self.settings else self.other['d']

    assert keys_read(Reads, 'settings') == {'a', 'b', 'c'}


@pytest.mark.parametrize(
    ('key', 'meant', 'base', 'value'),
    [
        ('model.backbone.arch.embed_dim', 'embed_dims', LITE, 192),
        ('model.backbone.drop_path_rat', 'drop_path_rate', FOLDER, 0.1),
        ('model.objectives.csmm', 'csm', FOLDER, {'loss_weight': 2.0}),
        ('model.data_preprocessor.views.anchor.augment.grey', 'gray', FOLDER, 1.0),
        ('optim_wrapper.clip_grad.max_noorm', 'max_norm', FOLDER, 1.0),
        ('optim_wrapper.optimizer.weight_decai', 'weight_decay', FOLDER, 0.1),
        ('optim_wrapper._delete', '_delete_', FOLDER, True),
        ('optim_wrapper.paramwise_cfg.norm_decay_mutl', 'norm_decay_mult', PARTS, 0.0),
        ('optim_wrapper.paramwise_cfg.custom_keys.head.lr_mlut', 'lr_mult', REID, 2.0),
        ('default_hooks.checkpiont', 'checkpoint', FOLDER, {'type': 'CheckpointHook'}),
        ('default_hooks.loger', 'logger', FOLDER, {'interval': 5}),
        ('train_dataloader.dataset.pipline', 'pipeline', REID, []),
        ('train_cfg.max_epoch', 'max_epochs', REID, 3),
        ('train_dataloder', 'train_dataloader', FOLDER, {'batch_size': 3}),
        ('param_scheduler.start_facter', 'start_factor', FOLDER, [{'type': 'LinearLR'}]),
        ('custom_hooks.tpye', 'type', FOLDER, [{'priority': 'LOW'}]),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_a_misspelt_key_of_an_inheriting_config_is_refused(inherit, key, meant, base, value):
    *parts, wrong = key.split('.')
    if isinstance(value, list) and value:  # a list is written anew: the key is its entry's
        value = [{**value[0], wrong: 'saip.CollapseHook'}]
    else:
        value = {wrong: value} if parts else value
    for part in reversed(parts[1:]):
        value = {part: value}
    path = inherit(base, f'{(parts or [wrong])[0]} = {value!r}')
    with pytest.raises(ConfigKeyError, match=f'no key {wrong!r} .*did you mean {meant!r}'):
        read_config(path)


def parameters(function) -> set[str]:
    return set(inspect.signature(function).parameters) - {'self', 'kwargs', 'params'}


def valid_options() -> dict[str, object]:
    """Keys that mmengine and torch document, each with a value of its kind."""
    named = {
        'auto_scale_lr': ['enable'],
        'custom_hooks.0': ['priority'],
        'default_hooks.checkpoint': parameters(CheckpointHook) | {'priority'},
        'default_hooks.logger': parameters(LoggerHook),
        'env_cfg': ['resource_limit'],
        'env_cfg.dist_cfg': ['timeout', 'init_backend', 'init_method', 'world_size', 'port'],
        'env_cfg.mp_cfg': ['mp_start_method', 'opencv_num_threads'],
        'log_processor': parameters(LogProcessor),
        'optim_wrapper': ['accumulative_counts', 'clip_grad', 'constructor', 'paramwise_cfg'],
        'optim_wrapper.clip_grad': ['norm_type', 'error_if_nonfinite', 'foreach', 'max_norm'],
        'optim_wrapper.optimizer': parameters(torch.optim.AdamW),
        'param_scheduler.0': ['convert_to_iter_based', 'verbose', 'last_step'],
        'randomness': ['seed', 'deterministic', 'diff_rank_seed'],
        'train_cfg': ['val_begin', 'dynamic_intervals', 'max_epochs'],
        'train_dataloader': (parameters(DataLoader) | {'num_batch_per_epoch'}) - {'dataset'},
        'visualizer': ['name', 'save_dir'],
    }
    options = {f'{part}.{key}': None for part, keys in named.items() for key in keys}
    top = parameters(Runner) - {'cfg', 'model', 'model_wrapper_cfg'}
    read_by_name = {'find_unused_parameters', 'sync_bn', 'activation_checkpointing', 'compile'}
    return options | dict.fromkeys(top | read_by_name)


def test_no_key_that_mmengine_or_torch_document_is_refused():
    cfg = Config.fromfile(FOLDER)
    for option in valid_options():
        check_options(cfg, [option])
        changed = copy.deepcopy(cfg)
        changed.merge_from_dict({option: 1})
        part, _, key = option.rpartition('.')
        if part:  # a whole part is no number
            check_parts(changed, key)


@pytest.mark.parametrize(
    'text',
    [
        'optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=1))',
        "optim_wrapper = dict(clip_grad=dict(_delete_=True, type='value', clip_value=1.0))",
        "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=1.0, nesterov=True))",
        "optim_wrapper = dict(constructor='DefaultOptimWrapperConstructor', paramwise_cfg=dict("
        'bias_lr_mult=1, bias_decay_mult=0, norm_decay_mult=0, flat_decay_mult=0, '
        'dwconv_decay_mult=0, dcn_offset_lr_mult=1, bypass_duplicate=True, '
        'custom_keys=dict(head=dict(lr_mult=2, decay_mult=0, betas=(0.8, 0.9)))))',
        "custom_hooks = [dict(type='EMAHook', momentum=0.1, priority='LOW', evaluate_on_ema=True)]",
        "model = dict(backbone=dict(_delete_=True, type='mmpretrain.TIMMBackbone', "
        "model_name='resnet18', pretrained_cfg=None, drop_path_rate=0.1))",
        "default_hooks = dict(early=dict(type='EarlyStoppingHook', monitor='a', patience=3))",
        "model = dict(data_preprocessor=dict(views=dict(anchor2=dict(type='Crop'))))",
        "param_scheduler = [dict(type='LinearLR', start_factor=0.1, convert_to_iter_based=True)]",
        "visualizer = dict(vis_backends=[dict(type='WandbVisBackend', init_kwargs=dict(a=1))])",
        "runner_type = 'Runner'\nrun = 3\nval_cfgs = dict(interval=run)\nuses = val_cfgs",
    ],
)
def test_valid_keys_of_an_inheriting_config_pass(inherit, text):
    base = STAR if 'constructor' in text else FOLDER
    check_config(Config.fromfile(inherit(base, text)))


def trial() -> dict:
    sys.path.insert(0, str(ROOT / 'benchmarks'))
    try:
        return runpy.run_path(str(ROOT / 'benchmarks/trial_typos.py'))
    finally:
        sys.path.pop(0)


def test_a_sample_of_the_trial_keeps_what_is_promised():
    """Every sixteenth leaf; benchmarks/trial_typos.py tries all."""
    script = trial()
    paths = script['leaves']()[::16]
    counts = script['run'](paths, per_leaf=40, show_missed=False)
    refused = counts['right hint'] + counts['wrong hint']
    total = refused + counts['accepted']
    assert total > 150
    assert counts['false alarms'] == 0
    assert refused >= 0.95 * total
    assert counts['right hint'] >= 0.9 * total


def test_what_the_trial_writes_is_what_an_inheriting_file_gives(inherit):
    """The trial changes a configuration in memory; mmengine merges the same from a file."""
    script = trial()
    cfg = Config.fromfile(FOLDER)
    typos = script['typos_of'](cfg, 400, random.Random(0))
    in_dicts = [typo for typo in typos if all(isinstance(key, str) for key in typo.path)]
    for typo in random.Random(1).sample(in_dicts, 6):
        value = script['parent_of'](cfg, typo.path)[typo.path[-1]]
        value = Config({'v': value}).to_dict()['v']
        text = f'{{{typo.wrong!r}: {value!r}}}'
        for key in reversed(typo.path[1:-1]):
            text = f'{{{key!r}: {text}}}'
        top = typo.path[0] if len(typo.path) > 1 else typo.wrong
        text = text if len(typo.path) > 1 else repr(value)
        from_file = Config.fromfile(inherit(FOLDER, f'{top} = {text}'))
        with script['written'](cfg, typo):
            assert from_file.to_dict() == cfg.to_dict(), str(typo)


def test_the_check_is_quick():
    cfg = Config.fromfile(STAR)
    check_config(cfg)
    began = time.perf_counter()
    check_config(cfg)
    assert time.perf_counter() - began < 2


def test_a_missing_library_is_left_to_the_build(monkeypatch):
    """Nothing is imported that is not there, and nothing is said of its types."""
    monkeypatch.setitem(sys.modules, 'absentlib', None)
    cfg = Config(dict(model=dict(type='absentlib.Net', anything=1), default_scope='mmengine'))
    check_config(cfg)
