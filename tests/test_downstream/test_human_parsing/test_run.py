"""The configuration trains and evaluates on tiny generated people."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from PIL import Image
from torch.nn import Module

from saip.downstream.human_parsing import ParsingRoIHead
from saip.downstream.human_parsing.crops import trim
from saip.engine import launch
from saip.engine.launch import StartError
from saip.synthetic.formats import write_cihp
from tests.tiny import STRIDE_16

from .small import CONFIG, ENCODERS, LONG, SHORT, data_options, options
from .test_dataset import document, write

pytestmark = pytest.mark.usefixtures('fresh_mmengine', 'unformatted_configs')
TERMS = ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_parsing')
SCORES = ('mIoU', 'APp_50', 'APp_vol', 'PCP_50')


@pytest.fixture(scope='module')
def cihp(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('people') / 'CIHP'
    write_cihp(folder)
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
def test_every_weight_to_learn_gets_a_gradient(cihp, tmp_path, monkeypatch, backbone):
    """DistributedDataParallel refuses others."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    model, terms = step(options(tmp_path, cihp))
    assert {'loss', 'acc', *TERMS} == terms.keys()
    # The labels of a new head are about equally probable, and the loss has a weight of two.
    assert terms['loss_parsing'] == pytest.approx(2 * math.log(20), rel=0.05)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in learnt.items() if p.grad is None] == []
    for part in (
        'backbone.encoder.',
        'neck.lateral_convs.',
        'rpn_head.',
        'roi_head.bbox_head.',
    ):
        reached = [p.grad.any() for name, p in learnt.items() if name.startswith(part)]
        assert sum(reached) > 0.9 * len(reached) > 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize('backbone', [*ENCODERS, *STRIDE_16])
def test_two_iterations_and_an_evaluation(cihp, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = {**options(tmp_path / 'work', cihp), **images(4, 2)}
    runner, watch = train(changes)
    assert runner.iter == 2
    assert len(watch.sizes) >= 2
    assert all(size[2] <= SHORT + 32 and size[3] <= LONG for size in watch.sizes)
    validated = {
        key: runner.message_hub.get_scalar(f'val/parsing/{key}').current() for key in SCORES
    }
    shown = tmp_path / 'shown'
    tested = launch.evaluate(
        str(CONFIG), str(tmp_path / 'work/epoch_1.pth'), options=changes, show_dir=str(shown)
    )
    assert {f'parsing/{key}': value for key, value in validated.items()} == tested
    assert all(0 <= value <= 100 for value in tested.values())
    names = sorted(path.name for path in shown.iterdir())
    assert names == sorted(os.listdir(cihp / 'val_img'))[:2]
    # Annotated people on the left, predicted ones beside them.
    with Image.open(shown / names[0]) as image:
        assert image.size == (2 * 224, 160)


def annotated(head, x, rpn_results_list, samples, rescale=False):
    """Annotated people in the place of predicted ones."""
    found = []
    for sample in samples:
        people = sample.gt_instances
        result = InstanceData(bboxes=people.bboxes, scores=torch.ones(len(people)) * 0.9)
        result.labels = people.labels
        result.parsings = [trim(labels) for labels in people.masks.masks]
        found.append(result)
    return found


def test_annotated_people_have_full_marks_and_their_colors(cihp, tmp_path, monkeypatch):
    """Files, transforms, metric and pictures fit together."""
    monkeypatch.setattr(ParsingRoIHead, 'predict', annotated)
    changes = {**options(tmp_path / 'work', cihp), **images(2, 2), 'train_cfg.max_epochs': 1}
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    runner = Runner.from_cfg(launch.read_config(str(CONFIG), changes))
    runner.model.init_weights()
    runner.val_loop.runner.val()
    torch.save({'state_dict': runner.model.state_dict(), 'meta': {}}, tmp_path / 'any.pth')
    shown = tmp_path / 'shown'
    tested = launch.evaluate(
        str(CONFIG), str(tmp_path / 'any.pth'), options=changes, show_dir=str(shown)
    )
    assert tested == pytest.approx({f'parsing/{key}': 100 for key in SCORES})
    name = min(os.listdir(shown))
    with Image.open(shown / name) as image:
        drawn = np.asarray(image.convert('RGB')).astype(int)
    with Image.open(cihp / 'val_img' / name) as image:
        plain = np.asarray(image.convert('RGB')).astype(int)
    with Image.open(cihp / f'val_seg/{name[:-4]}.png') as image:
        labels = np.asarray(image)
    halves = drawn[:, :224], drawn[:, 224:]
    for half in halves:
        # Where nobody is, and no frame or text, the image is as it was, but for its compression.
        assert np.median(np.abs(half - plain)[labels == 0]) < 8
        pants = half[labels == 9].mean(axis=0)
        assert pants.argmax() == 2  # blue
        assert np.median(np.abs(half - plain)[labels == 9]) > 15


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ENCODERS)
def test_real_size(cihp, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = {**data_options(cihp), **images(2, 1), 'train_cfg.max_epochs': 1}
    changes.update({'work_dir': str(tmp_path), 'train_dataloader.batch_size': 1})
    runner, watch = train(changes)
    assert runner.iter == 2
    # 160 x 224 pixels, scaled to one of the six short sides and filled up to multiples of 32.
    assert {size[2] for size in watch.sizes} <= {512, 640, 704, 768, 800, 864}
    assert 0 <= runner.message_hub.get_scalar('val/parsing/mIoU').current() <= 100


@pytest.mark.usefixtures('one_process_group')
def test_it_trains_in_a_process_group(cihp, tmp_path):
    changes = {**options(tmp_path, cihp), **images(4, 2)}
    changes['default_hooks.checkpoint.save_best'] = 'parsing/mIoU'
    launch.train(str(CONFIG), options=changes, launcher='pytorch')
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert list(tmp_path.glob('best_parsing_mIoU_epoch_1.pth'))


def test_without_a_box_on_a_person_the_parts_still_have_gradients(cihp, tmp_path):
    changes = options(tmp_path, cihp)
    # Nobody overlaps a box by more than all of it, and people are not proposed themselves.
    for key in ('pos_iou_thr', 'min_pos_iou'):
        changes[f'model.train_cfg.rcnn.assigner.{key}'] = 1.1
    changes['model.train_cfg.rcnn.sampler.add_gt_as_proposals'] = False
    model, terms = step(changes)
    assert terms['loss_parsing'] == 0
    head = dict(model.roi_head.mask_head.named_parameters())
    assert [name for name, p in head.items() if p.grad is None] == []
    assert not any(p.grad.any() for p in head.values())


def test_at_most_so_many_boxes_learn_parts(cihp, tmp_path, monkeypatch):
    seen = []
    forward = ParsingRoIHead._logits

    def count(head, x, rois):
        seen.append(rois[:, 0].long().bincount().tolist())
        return forward(head, x, rois)

    monkeypatch.setattr(ParsingRoIHead, '_logits', count)
    step({**options(tmp_path, cihp), 'model.roi_head.max_parsed': 2})
    assert seen == [[2, 2]]


def test_pictures_of_different_shapes_are_learnt_and_evaluated(tmp_path):
    """Wide and high ones; the metric compares each in its own pixels."""
    content = document()
    content['images'][2].update(width=20, height=30)
    content['annotations'][2]['bbox'] = [1, 1, 18, 20]
    content['annotations'].pop()
    root = write(tmp_path / 'CIHP', content)
    for split in ('train', 'val'):
        for kind, name in (('img', '9.jpg'), ('seg', '9.png'), ('parsing', '9-1.png')):
            path = root / f'{split}_{kind}/{name}'
            with Image.open(path) as image:
                turned = image.transpose(Image.Transpose.ROTATE_90)
            turned.save(path)
    train(options(tmp_path / 'work', root))


def test_what_is_wrong_with_the_data_stops_before_the_first_iteration(tmp_path):
    root = write(tmp_path / 'CIHP', document())
    (root / 'train_parsing/9-1.png').unlink()
    with pytest.raises(StartError, match=r'train_parsing/9-1\.png: no such file'):
        launch.train(str(CONFIG), options=options(tmp_path / 'work', root))
