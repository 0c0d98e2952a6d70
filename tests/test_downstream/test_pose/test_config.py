"""What the configurations say: heads, learning rates, statistics, weights, the data they read."""

import math
import os
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmpose.engine.optim_wrappers import LayerDecayOptimWrapperConstructor

from saip.checkpoint import WeightsError
from saip.engine.launch import StartError, read_config
from saip.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from tests.tiny import ROOT, SMALL_FRAGMENTS, settings_of

from .small import TASKS, path

STOCK = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_ViTPose-small_8xb64-210e_coco-256x192.py'
)

every_task = pytest.mark.parametrize('task', TASKS)
every_fragment = pytest.mark.parametrize(
    'fragment', SMALL_FRAGMENTS, ids=lambda path: path.stem
)


@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    """mmpose's own ViTPose-S."""
    file = tmp_path_factory.mktemp('stock') / 'stock.py'
    file.write_text(f'_base_ = {STOCK!r}\n')
    return Config.fromfile(file)


def test_a_stride_that_never_becomes_four_is_named(tmp_path, monkeypatch):
    """A ViT of 14x14 patches, say."""
    monkeypatch.setenv('SAIP_BACKBONE', fragment_of_stride(tmp_path, 'last_stride = 14\n'))
    with pytest.raises(StartError, match=r'last_stride=14 of this encoder: .*stride 4;'):
        read_config(path('coco'))


def test_an_encoder_that_does_not_state_its_stride_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', fragment_of_stride(tmp_path, ''))
    with pytest.raises(StartError, match=r"vitpose_coco\.py: .* no attribute 'last_stride'"):
        read_config(path('coco'))


@pytest.mark.parametrize(('stride', 'deconvolutions'), [(4, 0), (8, 1), (64, 4)])
def test_other_strides_lead_to_four(stride, deconvolutions, tmp_path, monkeypatch):
    name = fragment_of_stride(tmp_path, f'last_stride = {stride}\n')
    monkeypatch.setenv('SAIP_BACKBONE', name)
    cfg = read_config(path('coco'))
    assert cfg.model.head.deconv_out_channels == (256,) * deconvolutions
    assert cfg.model.head.deconv_kernel_sizes == (4,) * deconvolutions
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 1
    assert cfg.model.backbone.drop_path_rate == 0


def fragment_of_stride(folder, line):
    """Write a fragment with this line in the place of its stride, and return its name."""
    text = (ROOT / 'configs/_base_/backbones/starnet-s3.py').read_text()
    text, found = re.subn(r'^last_stride.*\n', line, text, flags=re.M)
    assert found == 1
    (folder / 'other.py').write_text(text)
    # SAIP_BACKBONE is a file's name without .py, relative to the folder of fragments.
    return os.path.relpath(folder / 'other', ROOT / 'configs/_base_/backbones')


def build(cfg):
    try:
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            return ROOT_MODELS.build(cfg.model)
    except ImportError as error:  # the encoder's library, named by the error
        pytest.skip(str(error))


def wrapper(cfg, model):
    """The optimizer wrapper as the Runner builds it."""
    settings = dict(cfg.optim_wrapper)
    constructor = settings.pop('constructor')
    paramwise = settings.pop('paramwise_cfg')
    kind = dict(type=constructor, optim_wrapper_cfg=settings, paramwise_cfg=paramwise)
    return OPTIM_WRAPPER_CONSTRUCTORS.build(kind)(model)


@every_fragment
def test_the_head_follows_the_stride_of_the_map(fragment, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', fragment.stem)
    cfg = read_config(path('coco'))
    model = build(cfg)
    deconvolutions = [
        m for m in model.head.modules() if isinstance(m, torch.nn.ConvTranspose2d)
    ]
    stride = Config.fromfile(fragment).last_stride
    assert [m.out_channels for m in deconvolutions] == [256] * int(math.log2(stride / 4))
    with torch.no_grad():
        heatmaps = model.eval()(torch.zeros(1, 3, 256, 192), None, mode='tensor')
    assert heatmaps.shape == (1, 17, 64, 48)
    factor = cfg.optim_wrapper.paramwise_cfg.layer_decay_rate
    plain = fragment.stem.startswith('vit')
    assert factor == (0.8 if plain else 1.0)
    assert cfg.model.backbone.drop_path_rate == (0.1 if plain else 0.0)


def test_rates_of_a_vit_are_those_of_mmpose(stock, monkeypatch):
    """Its constructor knows the names of a ViT's blocks and counts twelve of them."""
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-tiny-p16')
    cfg = read_config(path('coco'))
    model = build(cfg)
    paramwise = stock.optim_wrapper.paramwise_cfg
    wanted = dict(optimizer=dict(stock.optim_wrapper.optimizer))
    theirs = settings_of(
        LayerDecayOptimWrapperConstructor(wanted, paramwise)(model).optimizer, model
    )
    ours = settings_of(wrapper(cfg, model).optimizer, model)
    assert ours.keys() == theirs.keys()
    for name, pair in theirs.items():
        assert ours[name] == pytest.approx(pair), name
    assert len(set(ours.values())) == 2 * 14


@pytest.mark.parametrize(
    ('backbone', 'rate'), [('starnet-s3', 5e-4), ('tinyvit-5m', 7e-4), ('edgenext-s', 5e-4)]
)
def test_networks_with_stages_learn_at_one_rate(backbone, rate, monkeypatch):
    """The authors' rates, without weight decay and clipping."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    cfg = read_config(path('coco'))
    model = build(cfg)
    found = settings_of(wrapper(cfg, model).optimizer, model)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert found == dict.fromkeys(learnt, (rate, 0.0))
    assert cfg.optim_wrapper.clip_grad is None


@pytest.mark.parametrize('task', [task for task in TASKS if task != 'chimpact'])
def test_everything_else_is_vitpose(task, stock):
    cfg = read_config(path(task))
    assert cfg.model.data_preprocessor == stock.model.data_preprocessor
    assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]  # RGB
    assert cfg.model.data_preprocessor.bgr_to_rgb is True
    assert cfg.model.test_cfg == stock.model.test_cfg
    assert cfg.model.head.loss == stock.model.head.loss
    assert cfg.model.head.decoder.type == 'UDPHeatmap'
    for key in ('optimizer', 'clip_grad'):
        assert cfg.optim_wrapper[key] == stock.optim_wrapper[key]
    schedules = [{k: v for k, v in s.items() if k != '_scope_'} for s in stock.param_scheduler]
    assert cfg.param_scheduler == schedules
    loop = {key: value for key, value in stock.train_cfg.items() if key != 'by_epoch'}
    assert cfg.train_cfg == loop | dict(type='saip.ResumableEpochLoop')
    assert cfg.auto_scale_lr == stock.auto_scale_lr
    for loader in ('train_dataloader', 'val_dataloader'):
        steps = [step.type for step in cfg[loader].dataset.pipeline]
        assert steps == [step.type for step in stock[loader].dataset.pipeline]
        assert cfg[loader].batch_size == stock[loader].batch_size


@pytest.mark.parametrize('backbone', ['vit-tiny-p16', 'tinyvit-5m'])
def test_chimpanzees_are_learnt_as_the_authors_do(backbone, monkeypatch):
    """Adam at one rate, MSRA's heatmaps, no half body; the best of the validation is tested."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    cfg = read_config(path('chimpact'))
    model = build(cfg)
    optimizer = wrapper(cfg, model).optimizer
    assert type(optimizer) is torch.optim.Adam
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert settings_of(optimizer, model) == dict.fromkeys(learnt, (5e-4, 0.0))
    assert cfg.optim_wrapper.clip_grad is None
    assert cfg.model.head.decoder.type == 'MSRAHeatmap'
    assert cfg.model.test_cfg.shift_heatmap is True  # MSRA's mirrored maps are a cell apart
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert 'RandomHalfBody' not in steps
    assert not any(step.get('use_udp') for step in cfg.test_dataloader.dataset.pipeline)
    assert cfg.train_cfg.max_epochs == 210
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 40
    assert cfg.val_evaluator.ann_file.endswith('/val.json')
    assert cfg.default_hooks.checkpoint.save_best == 'coco/AP'


def test_leaves_of_a_few_lines_change_one_thing():
    for leaf, base, loaders, key, value in (
        (
            'vitpose_humanart-coco',
            'vitpose_humanart',
            ['train_dataloader'],
            'ann_file',
            'HumanArt/annotations/training_humanart_coco.json',
        ),
        (
            'vitpose_coco-annotated-boxes',
            'vitpose_coco',
            ['val_dataloader', 'test_dataloader'],
            'bbox_file',
            None,
        ),
    ):
        folder = ROOT / 'configs/downstream/pose'
        one, other = (
            read_config(str(folder / f'{name}.py')).to_dict() for name in (leaf, base)
        )
        assert one.pop('work_dir') != other.pop('work_dir')
        for loader in loaders:
            assert one[loader]['dataset'].pop(key) == value
            assert other[loader]['dataset'].pop(key) != value
        for cfg in (one, other):
            for helper in ('dataset', 'detected', 'val_set'):
                cfg.pop(helper, None)
        assert one == other


@every_task
def test_sizes_agree(task):
    cfg = read_config(path(task))
    size = (256, 256) if task == 'ap10k' else (192, 256)
    codec = cfg.model.head.decoder
    assert codec.input_size == size
    assert codec.heatmap_size == (size[0] // 4, size[1] // 4)
    assert cfg.model.backbone.img_size == size[::-1]
    assert cfg.model.head.out_channels == TASKS[task].landmarks
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in loader.dataset.pipeline:
            assert step.get('input_size', size) == size
            if 'encoder' in step:
                assert {
                    k: step.encoder[k] for k in ('input_size', 'heatmap_size', 'sigma')
                } == {k: codec[k] for k in ('input_size', 'heatmap_size', 'sigma')}


@every_task
def test_nothing_is_read_but_the_own_data(task, monkeypatch):
    monkeypatch.setenv('SAIP_DATA', '/somewhere')
    cfg = read_config(path(task))
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    (kind,) = {loader.dataset.type for loader in loaders}
    assert issubclass(DATASETS.get(kind), TASKS[task].library)
    for loader, evaluator in zip(
        loaders[1:], (cfg.val_evaluator, cfg.test_evaluator), strict=True
    ):
        root = loader.dataset.data_root.rstrip('/')
        assert evaluator.ann_file == f'{root}/{loader.dataset.ann_file}'
    assert cfg.test_evaluator.ann_file == f'/somewhere/{TASKS[task].tested}'
    assert f'{TASKS[task].prefix}/AP' == cfg.default_hooks.checkpoint.save_best
    if task == 'humanart':
        assert 'coco' not in cfg.train_dataloader.dataset.ann_file
    assert 'data/' not in cfg.pretty_text.replace("img='data/'", '')


def exported(name, folder):
    """An encoder of other weights than a new one has, and its exported file."""
    torch.manual_seed(7)
    try:
        encoder = MODELS.build(
            Config.fromfile(ROOT / f'configs/_base_/backbones/{name}.py').backbone
        )
    except ImportError as error:
        pytest.skip(str(error))
    encoder.init_weights()
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    file = folder / f'{name}.pth'
    torch.save({'state_dict': state, 'meta': {'architecture': encoder.architecture()}}, file)
    return encoder, file


@pytest.mark.parametrize('name', ['vit-tiny-p16', 'tinyvit-5m', 'cspnext-s'])
def test_pretrained_weights_arrive_or_it_stops(name, tmp_path, monkeypatch):
    encoder, file = exported(name, tmp_path)
    monkeypatch.setenv('SAIP_BACKBONE', name)
    monkeypatch.setenv('SAIP_INIT', str(file))
    torch.manual_seed(0)
    model = build(read_config(path('coco')))
    model.init_weights()
    loaded = model.backbone.state_dict()
    assert loaded.keys() == encoder.state_dict().keys()
    for key, value in encoder.state_dict().items():
        if key == 'pos_embed':  # from 16x8 to 16x12 patches
            assert loaded[key].shape == (1, 1 + 16 * 12, 192)
        else:
            assert torch.equal(loaded[key], value), key
    monkeypatch.setenv('SAIP_BACKBONE', 'resnet18')
    with pytest.raises(WeightsError, match='another architecture'):
        build(read_config(path('coco'))).init_weights()


def test_a_file_that_lacks_a_tensor_stops(tmp_path, monkeypatch):
    _, file = exported('vit-4blocks-p16', tmp_path)
    stored = torch.load(file, weights_only=True)
    del stored['state_dict']['backbone.layers.3.ln2.bias']
    torch.save(stored, file)
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    monkeypatch.setenv('SAIP_INIT', str(file))
    with pytest.raises(WeightsError, match=r'missing: layers\.3\.ln2\.bias'):
        build(read_config(path('coco'))).init_weights()
