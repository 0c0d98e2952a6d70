"""The configuration trains, and its accuracy is that of the predictions it saves."""

import pickle

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn

from saip.engine import launch
from saip.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from saip.synthetic.formats import write_imagenet
from tests.test_downstream.test_classification.small import CONFIG, SHORT, SMALL
from tests.tiny import LARGE, settings_of, train

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp('drawn')
    write_imagenet(root / 'imagenet')
    return root


@pytest.fixture
def data(drawn, monkeypatch):
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    return drawn / 'imagenet'


def length(epochs):
    return {
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'param_scheduler.1.T_max': epochs - 5,
        'param_scheduler.1.end': epochs,
        'default_hooks.checkpoint.interval': epochs,
    }


@pytest.mark.slow
def test_its_loss_falls_and_its_accuracy_is_that_of_the_saved_predictions(data, tmp_path):
    options = SMALL | length(30) | {'work_dir': str(tmp_path / 'run')}
    runner = Runner.from_cfg(launch.read_config(CONFIG, options))
    assert train(runner) == []
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert losses[-20:].mean() < losses[:10].mean() - 0.05
    saved = tmp_path / 'predictions.pkl'
    dump = dict(type='mmengine.DumpResults', out_file_path=str(saved))
    accuracy = dict(type='Accuracy', topk=(1, 5), collect_device='gpu')
    metrics = launch.evaluate(
        CONFIG,
        str(next((tmp_path / 'run').glob('best_accuracy_top1_*.pth'))),
        options=options | {'test_evaluator': [accuracy, dump]},
    )
    classes = sorted(path.name for path in (data / 'val').iterdir())
    samples = pickle.loads(saved.read_bytes())
    assert sorted(sample['img_path'] for sample in samples) == sorted(
        str(path) for path in (data / 'val').rglob('*.JPEG')
    )
    right = {1: 0, 5: 0}
    for sample in samples:
        scores = sample['pred_score'].tolist()
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        label = classes.index(sample['img_path'].split('/')[-2])
        rank = sum(score > scores[label] for score in scores)
        for k in right:
            right[k] += rank < k
    found = {k: metrics[f'accuracy/top{k}'] for k in right}
    assert found == pytest.approx({k: 100 * n / len(samples) for k, n in right.items()})
    history = runner.message_hub
    assert history.get_scalar('val/accuracy/top1').current() == pytest.approx(found[1])


@pytest.mark.parametrize(
    'fragment',
    ['vit-4blocks-p16', 'starnet-s3', pytest.param('tinyvit-5m', marks=pytest.mark.slow)],
)
def test_two_steps_with_encoders_of_this_project(fragment, data, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', fragment)
    options = SHORT | {'work_dir': str(tmp_path / 'run'), 'train_cfg.max_epochs': 1}
    # Gains of 0 in TinyViT have to move before what lies under them gets a gradient.
    options['param_scheduler.0.start_factor'] = 0.5
    cfg = launch.read_config(CONFIG, options)
    runner = Runner.from_cfg(cfg)
    assert train(runner) == []
    assert runner.iter == 2


def test_another_number_of_classes_names_both_options(data, tmp_path):
    counts = {f'model.{part}.num_classes': 1000 for part in ('head', 'data_preprocessor')}
    with pytest.raises(launch.StartError) as caught:
        launch.train(CONFIG, work_dir=str(tmp_path / 'run'), options=SMALL | counts)
    assert str(caught.value).endswith(
        'imagenet has 8 classes: add --cfg-options model.head.num_classes=8 '
        'model.data_preprocessor.num_classes=8 if the set is complete'
    )


def build(fragment, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', fragment)
    cfg = launch.read_config(CONFIG)
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmpretrain'):
        return cfg, MODELS.build(cfg.model)


# Of scripts/cae_base_finetune.sh and cae_large_finetune.sh: images on each GPU, accumulation on
# eight, rate, epochs, layer decay, stochastic depth.
PUBLISHED = {
    'vit-small-p16': (128, 4, 8e-3, 100, 0.65, 0.1, 21.6),  # as base
    'vit-base-p16': (128, 4, 8e-3, 100, 0.65, 0.1, 85.7),
    'vit-large-p16': (64, 8, 2e-3, 50, 0.75, 0.2, 303.2),
}


@pytest.mark.parametrize('fragment', LARGE)
def test_settings_of_the_release(fragment, monkeypatch):
    monkeypatch.setenv('SAIP_LAYER_SCALE', '0.1')
    cfg, model = build(fragment, monkeypatch)
    batch, windows, rate, epochs, decay, depth, size = PUBLISHED[fragment]
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.optim_wrapper.accumulative_counts == windows
    assert 8 * batch * windows == cfg.auto_scale_lr.base_batch_size == 4096
    assert cfg.optim_wrapper.optimizer.lr == rate
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == epochs
    assert cfg.param_scheduler[0].end == cfg.param_scheduler[1].begin == 5
    assert cfg.param_scheduler[1].eta_min_ratio * rate == pytest.approx(1e-6)
    assert model.backbone.layers[-1].attn.out_drop.drop_prob == pytest.approx(depth)
    assert model.backbone.layers[0].attn.gamma1.weight.shape == (model.backbone.embed_dims,)
    layers = len(model.backbone.layers)
    tables = layers * (27 * 27 + 3) * model.backbone.num_heads
    gains = 2 * layers * model.backbone.embed_dims
    positions = model.backbone.pos_embed.numel()
    count = sum(p.numel() for p in model.backbone.parameters()) - tables - gains - positions
    assert count / 1e6 == pytest.approx(size, abs=0.2)
    assert not model.backbone.pos_embed.requires_grad
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=cfg.optim_wrapper.constructor,
            optim_wrapper_cfg=dict(optimizer=cfg.optim_wrapper.optimizer),
            paramwise_cfg=cfg.optim_wrapper.paramwise_cfg,
        )
    )(model)
    rates = settings_of(wrapper.optimizer, model)
    for name, expected in {
        'backbone.cls_token': (rate * decay ** (layers + 1), 0),
        'backbone.patch_embed.projection.weight': (rate * decay ** (layers + 1), 0.05),
        'backbone.layers.0.attn.relative_position_bias_table': (rate * decay**layers, 0.05),
        f'backbone.layers.{layers - 1}.attn.qkv.weight': (rate * decay, 0.05),
        f'backbone.layers.{layers - 1}.ffn.gamma2.weight': (rate * decay, 0),
        'backbone.ln1.weight': (rate, 0),
        'head.fc.weight': (rate, 0.05),
    }.items():
        assert rates[name] == pytest.approx(expected), name
    assert 'backbone.pos_embed' not in rates


def test_the_classifier_begins_near_zero_and_the_encoder_with_its_weights(
    data, tmp_path, monkeypatch
):
    cfg = launch.read_config(CONFIG, SMALL)
    encoder = MODELS.build(
        {**cfg.model.backbone, 'relative_position': False, 'layer_scale': 0.1}
    )
    encoder.init_weights()
    weights = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    meta = {'architecture': encoder.architecture()}
    torch.save({'state_dict': weights, 'meta': meta}, tmp_path / 'cae.pth')
    monkeypatch.setenv('SAIP_INIT', str(tmp_path / 'cae.pth'))
    monkeypatch.setenv('SAIP_LAYER_SCALE', '0.1')
    cfg = launch.read_config(CONFIG, SMALL)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    own = model.backbone.state_dict()
    assert all(torch.equal(own[key[9:]], value) for key, value in weights.items())
    assert isinstance(model.head.fc, nn.Linear)
    assert 0 < model.head.fc.weight.abs().max() < 1e-4
