"""What the configurations say: heads, learning rates, statistics, weights, the data they read."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmpose.engine.optim_wrappers import LayerDecayOptimWrapperConstructor

from saip.engine.launch import read_config
from saip.engine.pretrained import WeightsError
from saip.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from tests.tiny import ROOT

from .small import TASKS, path

FRAGMENTS = sorted((ROOT / 'configs/_base_/backbones').glob('*.py'))
STOCK = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_ViTPose-small_8xb64-210e_coco-256x192.py'
)

every_task = pytest.mark.parametrize('task', TASKS)
every_fragment = pytest.mark.parametrize('fragment', FRAGMENTS, ids=lambda path: path.stem)


@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    """mmpose's own ViTPose-S."""
    file = tmp_path_factory.mktemp('stock') / 'stock.py'
    file.write_text(f'_base_ = {STOCK!r}\n')
    return Config.fromfile(file)


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


def rates(built, model):
    """(learning rate, weight decay) of every parameter."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = built.optimizer.param_groups
    return {names[id(p)]: (g['lr'], g['weight_decay']) for g in groups for p in g['params']}


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
    assert factor == {16: 0.8, 32: 1.0}[stride]
    assert cfg.model.backbone.drop_path_rate == {16: 0.1, 32: 0.0}[stride]


def test_rates_of_a_vit_are_those_of_mmpose(stock, monkeypatch):
    """Its constructor knows the names of a ViT's blocks and counts twelve of them."""
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-tiny-p16')
    cfg = read_config(path('coco'))
    model = build(cfg)
    paramwise = stock.optim_wrapper.paramwise_cfg
    wanted = dict(optimizer=dict(stock.optim_wrapper.optimizer))
    theirs = rates(LayerDecayOptimWrapperConstructor(wanted, paramwise)(model), model)
    ours = rates(wrapper(cfg, model), model)
    assert ours.keys() == theirs.keys()
    for name, pair in theirs.items():
        assert ours[name] == pytest.approx(pair), name
    assert len(set(ours.values())) == 2 * 14


@pytest.mark.parametrize('backbone', ['starnet-s3', 'tinyvit-5m', 'edgenext-s'])
def test_networks_with_stages_learn_at_one_rate(backbone, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    cfg = read_config(path('coco'))
    model = build(cfg)
    found = rates(wrapper(cfg, model), model)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert found == {name: (5e-4, 0.1 if p.ndim > 1 else 0) for name, p in learnt.items()}


@every_task
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
    assert cfg.train_cfg == stock.train_cfg
    assert cfg.auto_scale_lr == stock.auto_scale_lr
    for loader in ('train_dataloader', 'val_dataloader'):
        steps = [step.type for step in cfg[loader].dataset.pipeline]
        assert steps == [step.type for step in stock[loader].dataset.pipeline]
        assert cfg[loader].batch_size == stock[loader].batch_size


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
    kind = {'coco': 'CocoKeypoints', 'wholebody': 'CocoWholeBody', 'humanart': 'HumanArt'}
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    for loader in loaders:
        assert loader.dataset.type == f'saip.{kind.get(task, "AP10K")}'
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
