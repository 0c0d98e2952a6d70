"""The configurations train and evaluate on tiny people."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from saip.datasets.people import SIZES, write_market1501
from saip.downstream.reid.head import BNNeckHead
from saip.engine import launch
from saip.engine.launch import StartError
from tests.test_downstream.test_reid.reid_files import write_msmt17
from tests.tiny import ROOT, settings_of

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
MARKET, MSMT17 = (
    str(ROOT / f'configs/downstream/reid/transreid_{name}.py')
    for name in ('market1501', 'msmt17')
)
BACKBONES = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
PEOPLE = 6


@pytest.fixture(scope='module')
def people(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('people') / 'Market1501'
    write_market1501(folder, SIZES['tiny'])
    return str(folder)


def small(work_dir: Path, root: str, identities: int) -> dict:
    """Options for a run of a second: 64x32 pixels, two identities with two pictures a batch."""
    options = {
        'model.backbone.img_size': (64, 32),
        'model.head.num_classes': identities,
        'train_dataloader.batch_size': 4,
        'train_dataloader.batch_sampler.instances': 2,
        'train_dataloader.dataset.pipeline.3.crop_size': (64, 32),
        'train_cfg.max_epochs': 1,
        'optim_wrapper.dtype': 'float32',
        'work_dir': str(work_dir),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options[f'{loader}.dataset.data_root'] = root
        options[f'{loader}.dataset.pipeline.1.scale'] = (32, 64)
        options[f'{loader}.num_workers'] = 0
        options[f'{loader}.persistent_workers'] = False
    return options


@pytest.mark.parametrize('backbone', BACKBONES)
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
    # 6 identities with one pair each of their 3 pictures, 2 pairs in a step.
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


def test_msmt17_trains_and_is_evaluated(tmp_path):
    options = small(tmp_path / 'work', str(write_msmt17(tmp_path)), identities=2)
    cfg = launch.read_config(MSMT17, options)
    runner = Runner.from_cfg(cfg)
    model = runner.model
    learnt = [model.backbone.patch_embed.projection.weight, model.head.classifier.weight]
    fixed = model.head.norm.bias
    before = [p.clone() for p in (*learnt, fixed)]
    runner.train()
    assert runner.iter == 1
    scores = runner.message_hub.get_scalar('val/reid/Rank-5')
    assert scores.current() == 100  # every gallery has fewer than 5 pictures
    same = [torch.equal(p, old) for p, old in zip((*learnt, fixed), before, strict=True)]
    assert same == [False, False, True]


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
