"""The configurations train and evaluate on tiny people."""

import math
from collections import Counter
from pathlib import Path

import pytest
from mmengine.runner import Runner
from PIL import Image

from saip.downstream.reid.head import BNNeckHead
from saip.engine import launch
from saip.engine.launch import StartError
from saip.synthetic.formats import write_market1501, write_msmt17
from tests.tiny import ROOT, STRIDE_16, settings_of, train

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
MARKET, MSMT17 = (
    str(ROOT / f'configs/downstream/reid/transreid_{name}.py')
    for name in ('market1501', 'msmt17')
)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
BACKBONES = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
PEOPLE = 6


@pytest.fixture(scope='module')
def people(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('people') / 'Market1501'
    write_market1501(folder)
    return str(folder)


@pytest.fixture(scope='module')
def msmt17(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('people') / 'MSMT17'
    write_msmt17(folder)
    return str(folder)


def short(work_dir: Path, root: str) -> dict:
    """Options for an epoch in one process, two identities with two images a batch."""
    options = {
        'train_dataloader.batch_size': 4,
        'train_dataloader.batch_sampler.instances': 2,
        'train_cfg.max_epochs': 1,
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    for loader in LOADERS:
        options[f'{loader}.dataset.data_root'] = root
        options[f'{loader}.num_workers'] = 0
        options[f'{loader}.persistent_workers'] = False
    return options


def small(work_dir: Path, root: str, identities: int) -> dict:
    """Options for a run of a second, with 64x32 pixels."""
    options = short(work_dir, root) | {
        'model.backbone.img_size': (64, 32),
        'model.head.num_classes': identities,
        'train_dataloader.dataset.pipeline.3.crop_size': (64, 32),
        'optim_wrapper.dtype': 'float32',
    }
    for loader in LOADERS:
        options[f'{loader}.dataset.pipeline.1.scale'] = (32, 64)
    return options


def two_steps_and_an_evaluation(config: str, options: dict) -> None:
    options = options | {
        'train_dataloader.dataset.indices': 12,  # four or five pairs
        'model.backbone.drop_path_rate': 0.0,  # may drop a branch for a whole small batch
        'param_scheduler': [],  # the warm-up's first steps are too small for float32
    }
    runner = Runner.from_cfg(launch.read_config(config, options))
    bias = runner.model.head.norm.bias
    assert train(runner) == []
    assert runner.iter == 2
    assert not bias.any()  # it does not learn
    history = runner.message_hub
    for term in ('id', 'triplet'):
        assert math.isfinite(history.get_scalar(f'train/loss_{term}').current())
    scores = {
        name: history.get_scalar(f'val/reid/{name}').current()
        for name in ('mAP', 'Rank-1', 'Rank-5', 'Rank-10', 'queries')
    }
    assert 0 < scores['mAP'] <= 100
    assert 0 <= scores['Rank-1'] <= scores['Rank-5'] <= scores['Rank-10'] <= 100
    assert scores['queries'] == 12
    assert runner.test() == {f'reid/{name}': score for name, score in scores.items()}


@pytest.mark.sampled(3)
@pytest.mark.parametrize('backbone', [*BACKBONES, *STRIDE_16])
def test_market1501_trains_and_is_evaluated(
    people, tmp_path, monkeypatch, fresh_mmengine, backbone
):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    drawn = []
    loss = BNNeckHead.loss

    def watched(self, feats, data_samples):
        drawn.append((feats[-1].detach().clone(), [s.img_path for s in data_samples]))
        return loss(self, feats, data_samples)

    monkeypatch.setattr(BNNeckHead, 'loss', watched)
    options = small(tmp_path, people, PEOPLE)
    launch.train(MARKET, options=options)
    # 6 identities with one pair each of their 3 images, 2 pairs in a step.
    assert len(drawn) == 3
    for tokens, paths in drawn:
        assert tokens.isfinite().all()
        assert len(set(paths)) == 4
        assert set(Counter(Path(path).name[:4] for path in paths).values()) == {2}
    found = launch.evaluate(
        MARKET, str(tmp_path / 'epoch_1.pth'), options=options, show_dir=str(tmp_path / 'shown')
    )
    assert found['reid/queries'] == 12
    assert 0 < found['reid/mAP'] <= 100
    assert 0 <= found['reid/Rank-1'] <= found['reid/Rank-5'] <= found['reid/Rank-10'] <= 100
    Image.open(tmp_path / 'shown/ranked_lists.png').verify()


@pytest.mark.sampled(3)
@pytest.mark.parametrize('backbone', BACKBONES)
def test_msmt17_trains_and_is_evaluated(msmt17, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    two_steps_and_an_evaluation(MSMT17, small(tmp_path, msmt17, PEOPLE))


@pytest.mark.slow
@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize(
    ('config', 'drawn'),
    [(MARKET, 'people'), (MSMT17, 'msmt17')],
    ids=['market1501', 'msmt17'],
)
def test_real_size(config, drawn, tmp_path, monkeypatch, request, backbone):
    """The head has the identities of the real set, so nothing compares them with the drawn."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    options = short(tmp_path, request.getfixturevalue(drawn)) | {'custom_hooks': []}
    two_steps_and_an_evaluation(config, options)


@pytest.mark.usefixtures('one_process_group')
def test_it_trains_in_a_process_group(people, tmp_path):
    launch.train(MARKET, options=small(tmp_path, people, PEOPLE), launcher='pytorch')
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_another_number_of_identities_is_named(people, tmp_path):
    options = small(tmp_path, people, identities=751)
    with pytest.raises(StartError, match=r'num_classes=751, but .* has 6 .*num_classes=6'):
        launch.train(MARKET, options=options)


def test_the_protocol():
    cfg = launch.read_config(MARKET)
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (120, 64)
    assert cfg.optim_wrapper.optimizer.lr == 2e-4
    assert [s['end'] for s in cfg.param_scheduler] == [20, 120]
    assert cfg.model.backbone.img_size == (256, 128)
    # Nothing is chosen by the test set.
    assert cfg.default_hooks.checkpoint.save_best is None


def test_biases_learn_at_twice_the_rate(people, tmp_path):
    runner = Runner.from_cfg(launch.read_config(MARKET, small(tmp_path, people, PEOPLE)))
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    found = settings_of(optimizer, runner.model)
    assert found['backbone.layers.0.attn.qkv.weight'][0] == pytest.approx(2e-4)
    assert found['backbone.layers.0.ln1.bias'][0] == pytest.approx(4e-4)
    assert found['head.classifier.weight'][0] == pytest.approx(2e-4)
