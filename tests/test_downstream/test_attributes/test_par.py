"""The configurations: they resolve, build, train and evaluate with every encoder."""

import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from saip.checkpoint import load_checkpoint_file
from saip.downstream.attributes import AttributeHead, PositiveRatioHook
from saip.downstream.attributes.published import convert_petazs
from saip.engine import launch
from saip.registry import MODELS
from saip.synthetic import formats
from tests.test_downstream.test_attributes.attribute_files import write_pa100k
from tests.tiny import LARGE, ROOT, SMALL_FRAGMENTS, STRIDE_16, train

CONFIGS = {
    name: ROOT / f'configs/downstream/attributes/par_{name}.py' for name in ('pa100k', 'petazs')
}
RUN = [path.stem for path in SMALL_FRAGMENTS]
FRAGMENTS = [*RUN, *LARGE]
PAPER = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
SIZE = (64, 32)
# An epoch in one process.
SHORT = {
    'train_dataloader.batch_size': 4,
    'val_dataloader.batch_size': 3,
    'test_dataloader.batch_size': 5,
    'train_cfg.max_epochs': 1,
    **{
        f'{part}_dataloader.{key}': value
        for part in ('train', 'val', 'test')
        for key, value in (
            ('num_workers', 0),
            ('persistent_workers', False),
            ('pin_memory', False),
        )
    },
}
SMALL = SHORT | {
    'model.backbone.img_size': SIZE,
    'train_dataloader.dataset.pipeline.1.scale': SIZE[::-1],
    'train_dataloader.dataset.pipeline.2.crop_size': SIZE,
    'val_dataloader.dataset.pipeline.1.scale': SIZE[::-1],
    'test_dataloader.dataset.pipeline.1.scale': SIZE[::-1],
}


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """Both data sets with synthetic persons, below one folder."""
    root = tmp_path_factory.mktemp('drawn')
    formats.write_pa100k(root / 'PA100K')
    formats.write_peta(root / 'PETA')
    convert_petazs(root / 'PETA' / 'dataset_zs_run0.pkl', root / 'PETA' / 'peta_zs.json')
    return root


@pytest.fixture
def sets(tmp_path, monkeypatch, fresh_mmengine):
    """PA-100K with noise for images, found through SAIP_DATA."""
    (tmp_path / 'data' / 'PA100K').mkdir(parents=True)
    write_pa100k(tmp_path / 'data' / 'PA100K')
    monkeypatch.setenv('SAIP_DATA', str(tmp_path / 'data'))
    return tmp_path / 'data'


def two_iterations_and_an_evaluation(name, options, work_dir):
    config = str(CONFIGS[name])
    options = options | {
        'work_dir': str(work_dir),
        'train_dataloader.dataset.indices': 8,
        'model.backbone.drop_path_rate': 0.0,  # may drop a branch for a whole small batch
    }
    runner = Runner.from_cfg(launch.read_config(config, options))
    assert train(runner) == []
    assert runner.iter == 2
    history = runner.message_hub
    assert math.isfinite(history.get_scalar('train/loss').current())
    (best,) = work_dir.glob('best_attributes_mA_*.pth')
    metrics = launch.evaluate(config, str(best), options=options)
    assert set(metrics) == {
        f'attributes/{score}'
        for score in ('mA', 'accuracy', 'precision', 'recall', 'F1', 'loss')
    }
    assert 0 <= metrics['attributes/mA'] <= 100
    # In another batch size: the scores are those of images, not of batches.
    for key, value in metrics.items():
        logged = history.get_scalar(f'val/{key}').current()
        assert logged == pytest.approx(value, rel=1e-4), key


@pytest.mark.sampled(6)
@pytest.mark.parametrize('fragment', [*PAPER, *STRIDE_16])
@pytest.mark.parametrize('name', CONFIGS)
def test_two_iterations_and_an_evaluation(
    name, fragment, drawn, tmp_path, monkeypatch, fresh_mmengine
):
    monkeypatch.setenv('SAIP_BACKBONE', fragment)
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    two_iterations_and_an_evaluation(name, SMALL, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('fragment', PAPER)
@pytest.mark.parametrize('name', CONFIGS)
def test_real_size(name, fragment, drawn, tmp_path, monkeypatch, fresh_mmengine):
    monkeypatch.setenv('SAIP_BACKBONE', fragment)
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    two_iterations_and_an_evaluation(name, SHORT, tmp_path)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """An epoch on PA-100K with noise for images: the folder of the data sets, and the weights."""
    root = tmp_path_factory.mktemp('trained')
    (root / 'data' / 'PA100K').mkdir(parents=True)
    write_pa100k(root / 'data' / 'PA100K')
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('SAIP_DATA', str(root / 'data'))
        launch.train(str(CONFIGS['pa100k']), work_dir=str(root / 'run'), options=SMALL)
    return root / 'data', root / 'run' / 'epoch_1.pth'


@pytest.fixture
def checkpoint(trained, monkeypatch, fresh_mmengine):
    monkeypatch.setenv('SAIP_DATA', str(trained[0]))
    return str(trained[1])


def test_weights_of_another_encoder_point_to_the_variable(checkpoint, tmp_path, monkeypatch):
    config = str(CONFIGS['pa100k'])
    monkeypatch.setenv('SAIP_BACKBONE', 'resnet18')
    with pytest.raises(launch.StartError, match=r'missing .* of SAIP_BACKBONE \(resnet18\)'):
        launch.evaluate(config, checkpoint, str(tmp_path / 'test'), options=SMALL)
    monkeypatch.delenv('SAIP_BACKBONE')
    launch.evaluate(config, checkpoint, str(tmp_path / 'test'), options=SMALL)


def test_weights_of_another_number_of_attributes_name_the_option(checkpoint, tmp_path):
    options = SMALL | {'model.head.num_classes': 25}
    with pytest.raises(launch.StartError) as caught:
        launch.evaluate(
            str(CONFIGS['pa100k']), checkpoint, str(tmp_path / 'test'), options=options
        )
    assert 'model.head.num_classes=25, but the file holds weights for 26' in str(caught.value)
    assert 'SAIP_BACKBONE' not in str(caught.value)


def test_the_loss_is_weighted_by_the_training_set(checkpoint, tmp_path):
    weights = load_checkpoint_file(checkpoint)['state_dict']
    mat = write_pa100k(tmp_path)
    shown = np.concatenate([mat['train_label'], mat['val_label']]).mean(0)
    found = weights['head.loss_module.positive_ratio']
    assert found.tolist() == pytest.approx(shown.tolist())


def test_another_number_of_attributes_is_refused(sets, tmp_path):
    options = SMALL | {'model.head.num_classes': 25}
    with pytest.raises(launch.StartError, match='num_classes=25, but PA100K has 26 attributes'):
        launch.train(str(CONFIGS['pa100k']), work_dir=str(tmp_path / 'run'), options=options)


def test_a_training_set_without_ratios_is_refused():
    class Images:
        metainfo = {'classes': ('Hat',)}

    loader = SimpleNamespace(dataset=Images())
    runner = SimpleNamespace(train_dataloader=loader, model=torch.nn.Identity())
    with pytest.raises(ValueError, match=r'Images does not state .* saip\.PA100K'):
        PositiveRatioHook().before_train(runner)


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('fragment', FRAGMENTS)
@pytest.mark.parametrize('name', CONFIGS)
def test_every_encoder_builds(name, fragment, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', fragment)
    cfg = launch.read_config(str(CONFIGS[name]))
    with torch.device('meta'):
        model = build(cfg)
        logits = model(torch.zeros(2, 3, *cfg.image_size), mode='tensor')
    assert model.backbone.img_size == (256, 128)
    assert logits.shape == (2, {'pa100k': 26, 'petazs': 35}[name])
    assert cfg.work_dir == f'work_dirs/par_{name}_{fragment}'


def test_the_encoder_begins_with_the_named_weights(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet-s3')
    encoder = build(launch.read_config(str(CONFIGS['pa100k']))).backbone
    state = {f'backbone.{key}': value + 1 for key, value in encoder.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'encoder.pth')
    monkeypatch.setenv('SAIP_INIT', str(tmp_path / 'encoder.pth'))
    model = build(launch.read_config(str(CONFIGS['pa100k'])))
    model.init_weights()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[f'backbone.{key}']), key


@pytest.mark.parametrize(
    ('scale', 'epochs', 'patience', 'milestones'),
    [(None, 25, 4, [10, 15]), ('0.25', 6, 1, [3, 4]), ('0.5', 13, 2, [5, 8])],
)
def test_one_switch_scales_the_schedule(scale, epochs, patience, milestones, monkeypatch):
    monkeypatch.delenv('SAIP_SCHEDULE', raising=False)
    if scale is not None:
        monkeypatch.setenv('SAIP_SCHEDULE', scale)
    for path in CONFIGS.values():
        plateau = launch.read_config(str(path))
        assert plateau.train_cfg.max_epochs == epochs
        assert plateau.param_scheduler.patience == patience
    steps = launch.read_config(str(CONFIGS['petazs'].with_name('solider-settings_petazs.py')))
    assert steps.train_cfg.max_epochs == epochs
    assert steps.param_scheduler.milestones == milestones


def test_settings_of_the_authors_and_of_solider():
    solider = {'pa100k': ('Adam', 1e-5, 0), 'petazs': ('Adam', 1e-5, 5e-4)}
    for name, path in CONFIGS.items():
        found = {}
        for stem in (path.stem, f'solider-settings_{name}'):
            cfg = launch.read_config(str(path.with_name(f'{stem}.py')))
            optimizer = cfg.optim_wrapper.optimizer
            found[stem] = (optimizer.type, optimizer.lr, optimizer.weight_decay)
            assert cfg.optim_wrapper.clip_grad.max_norm == 10
            assert cfg.train_dataloader.batch_size == 64
            assert cfg.train_dataloader.dataset.split == 'trainval'
            assert cfg.test_dataloader.dataset.split == 'test'
            assert cfg.train_dataloader.dataset.pipeline[1].scale == (128, 256)
        assert [*found.values()] == [('AdamW', 1e-4, 0), solider[name]]


def test_the_head_norms_its_logits_if_asked():
    tokens = torch.randn(64, 8) * 5 + 3
    logits = AttributeHead(num_classes=4, in_channels=8, with_norm=True)((tokens,))
    assert logits.mean(0).tolist() == pytest.approx([0] * 4, abs=1e-5)
    assert logits.std(0, unbiased=False).tolist() == pytest.approx([1] * 4, abs=1e-3)


def test_predictions_carry_probabilities_and_the_loss_of_labeled_images():
    head = AttributeHead(num_classes=2, in_channels=3)
    head.loss_module.set_ratio([0.5, 0.5])
    torch.nn.init.zeros_(head.fc.weight)
    torch.nn.init.zeros_(head.fc.bias)
    labeled = DataSample().set_gt_score(torch.tensor([1.0, 0.0]))
    (sample,) = head.predict((torch.randn(1, 3),), [labeled])
    assert sample.pred_score.tolist() == [0.5, 0.5]
    assert sample.loss.item() == pytest.approx(2 * math.exp(0.5) * math.log(2))
    (sample,) = head.predict((torch.randn(1, 3),), [DataSample()])
    assert 'loss' not in sample


@pytest.mark.parametrize('fragment', RUN)
def test_every_trainable_parameter_gets_a_gradient(fragment, monkeypatch):
    """Distributed training stops at one without."""
    monkeypatch.setenv('SAIP_BACKBONE', fragment)
    model = build(launch.read_config(str(CONFIGS['pa100k']))).train()
    model.head.loss_module.set_ratio([0.3] * 26)
    samples = [DataSample().set_gt_score(torch.ones(26)) for _ in range(2)]
    model(torch.randn(2, 3, 64, 32), samples, mode='loss')['loss'].backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


@pytest.mark.slow
def test_it_needs_no_compiled_operator_and_no_other_library():
    script = f"""
import sys
for name in ('mmdet', 'mmpose', 'mmseg', 'mmcv.ops', 'mmcv._ext', 'scipy.io'):
    sys.modules[name] = None
from mmengine.registry import DefaultScope
from saip.engine.launch import read_config
from saip.registry import MODELS
cfg = read_config('{CONFIGS['petazs']}')
with DefaultScope.overwrite_default_scope('mmpretrain'):
    print(type(MODELS.build(cfg.model).head).__name__)
"""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script],
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ['AttributeHead'], done.stderr[-2000:]
