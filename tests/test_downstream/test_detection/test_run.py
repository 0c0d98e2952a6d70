"""The configuration trains and evaluates on tiny crowds."""

import math
import os
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch.nn import Module

from saip.engine import launch
from saip.engine.launch import StartError
from saip.synthetic.formats import write_crowdhuman
from tests.tiny import STRIDE_16

from .crowd_files import box, two_images, write_image, write_set
from .small import CONFIG, ENCODERS, LONG, SHORT, data_options, options

pytestmark = pytest.mark.usefixtures('fresh_mmengine', 'unformatted_configs')
TERMS = ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_rcnn_emd')


@pytest.fixture(scope='module')
def crowd(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('people') / 'CrowdHuman'
    write_crowdhuman(folder)
    return folder


def images(training: int, evaluation: int) -> dict[str, int]:
    """Options that take the first images alone."""
    counts = dict(train=training, val=evaluation, test=evaluation)
    return {f'{split}_dataloader.dataset.indices': count for split, count in counts.items()}


class Watch(Hook):
    """Keeps the weights with which a training begins, and the sizes of its batches."""

    def before_train(self, runner: Runner) -> None:
        self.first = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
        self.sizes: list[tuple[int, ...]] = []
        runner.model.backbone.register_forward_pre_hook(
            lambda _, inputs: self.sizes.append(tuple(inputs[0].shape))
        )


def train(changes: dict) -> tuple[Runner, Watch]:
    """Train without warm-up, whose first rates move no weight visibly."""
    cfg = launch.read_config(str(CONFIG), changes)
    cfg.param_scheduler = []
    runner, watch = Runner.from_cfg(cfg), Watch()
    runner.register_hook(watch)
    runner.train()
    for term in TERMS:
        assert math.isfinite(runner.message_hub.get_scalar(f'train/{term}').current())
    learnt = {name: p for name, p in runner.model.named_parameters() if p.requires_grad}
    changed = [name for name, p in learnt.items() if not torch.equal(watch.first[name], p)]
    # Few are left out: of levels without a sampled box, or before a norm that begins at zero.
    assert len(changed) > 0.9 * len(learnt)
    return runner, watch


def step(changes: dict) -> tuple[Module, dict[str, float]]:
    """The model after the backward pass of one batch, and the terms of its loss."""
    cfg = launch.read_config(str(CONFIG), changes)
    runner = Runner.from_cfg(cfg)
    model = runner.model
    model.init_weights()
    data = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    losses = model.train()(**model.data_preprocessor(data, training=True), mode='loss')
    total, terms = model.parse_losses(losses)
    total.backward()
    return model, {name: value.item() for name, value in terms.items()}


@pytest.mark.parametrize('backbone', ENCODERS)
def test_every_weight_to_learn_gets_a_gradient(crowd, tmp_path, monkeypatch, backbone):
    """DistributedDataParallel refuses others."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    model, terms = step(options(tmp_path, crowd))
    assert {'loss', *TERMS} == terms.keys()
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in learnt.items() if p.grad is None] == []
    for part in ('backbone.encoder.', 'neck.lateral_convs.', 'rpn_head.', 'roi_head.'):
        reached = [p.grad.any() for name, p in learnt.items() if name.startswith(part)]
        assert sum(reached) > 0.9 * len(reached) > 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize('backbone', [*ENCODERS, *STRIDE_16])
def test_two_iterations_and_an_evaluation(crowd, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = {**options(tmp_path / 'work', crowd), **images(4, 2)}
    runner, watch = train(changes)
    assert runner.iter == 2
    assert watch.sizes[:2] == [(2, 3, SHORT, LONG)] * 2
    validated = {
        key: runner.message_hub.get_scalar(f'val/crowd_human/{key}').current()
        for key in ('mAP', 'mMR')
    }
    shown = tmp_path / 'shown'
    tested = launch.evaluate(
        str(CONFIG), str(tmp_path / 'work/epoch_1.pth'), options=changes, show_dir=str(shown)
    )
    assert tested.keys() == {'crowd_human/mAP', 'crowd_human/mMR', 'crowd_human/JI'}
    assert all(0 <= value <= 1 for value in tested.values())
    assert {key: tested[f'crowd_human/{key}'] for key in validated} == validated
    names = sorted(path.name for path in shown.iterdir())
    assert names == sorted(os.listdir(crowd / 'Images'))[8:10]  # the first of the validation
    # Annotated people on the left, predicted ones beside them.
    with Image.open(shown / names[0]) as image:
        assert image.size == (2 * 288, 192)


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ENCODERS)
def test_real_size(crowd, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = {**data_options(crowd), **images(2, 1), 'train_cfg.max_epochs': 1}
    changes.update({'work_dir': str(tmp_path), 'train_dataloader.batch_size': 1})
    runner, watch = train(changes)
    assert runner.iter == 2
    # 192 x 288 pixels are filled up to 192 x 320, scaled to 800 x 1333 and filled up again.
    assert watch.sizes[:2] == [(1, 3, 832, 1344)] * 2
    assert 0 <= runner.message_hub.get_scalar('val/crowd_human/mAP').current() <= 1


@pytest.mark.usefixtures('one_process_group')
def test_it_trains_in_a_process_group(crowd, tmp_path):
    changes = {**options(tmp_path, crowd), **images(4, 2)}
    launch.train(str(CONFIG), options=changes, launcher='pytorch')
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert list(tmp_path.glob('best_crowd_human_mAP_epoch_1.pth'))


def test_a_person_alone_in_a_image_can_be_learnt(tmp_path):
    root = write_set(tmp_path / 'CrowdHuman', {n: [box([20, 10, 40, 80])] for n in 'ab'})
    _, terms = step(options(tmp_path / 'work', root))
    assert all(map(math.isfinite, terms.values()))


def test_images_of_different_sizes_share_a_batch(tmp_path):
    root = write_set(tmp_path / 'CrowdHuman', two_images())
    write_image(root / 'Images/b,2.jpg', 90, 300)
    _, terms = step(options(tmp_path / 'work', root))
    assert all(map(math.isfinite, terms.values()))


def test_what_is_wrong_with_the_data_stops_before_the_first_iteration(tmp_path):
    no_person = [box([5, 5, 20, 20], ignore=1)]
    root = write_set(tmp_path / 'CrowdHuman', {**two_images(), 'c,3': no_person})
    changes = options(tmp_path / 'work', root)
    with pytest.raises(StartError, match=r'annotation_train\.odgt, line 3: c,3\.jpg shows no'):
        launch.train(str(CONFIG), options=changes)
    changes['train_dataloader.dataset.skip_unusable'] = True
    launch.train(str(CONFIG), options=changes)
    assert (tmp_path / 'work/epoch_1.pth').is_file()
