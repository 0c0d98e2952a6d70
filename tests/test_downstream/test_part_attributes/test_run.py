"""The configuration trains and evaluates on tiny generated people."""

import json
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

from saip.datasets.fashionpedia import HUMAN
from saip.datasets.knowledge import count_file, matrix_of, save_counts
from saip.downstream.part_attributes import KERoIHead
from saip.engine import launch
from saip.engine.launch import StartError
from saip.errors import InputError, MissingFileError
from saip.synthetic.formats import write_fashionpedia
from tests.tiny import STRIDE_16

from .small import CONFIG, ENCODERS, SIZE, data_options, options

pytestmark = pytest.mark.usefixtures('fresh_mmengine', 'unformatted_configs')
TERMS = (
    'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask', 'loss_attributes',
)  # fmt: skip
SCORES = ('bbox_AP', 'bbox_AP_iou', 'segm_AP', 'segm_AP_iou')
HEAD = 'roi_head.attribute_head.'


@pytest.fixture(scope='module')
def people(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('people') / 'fashionpedia'
    write_fashionpedia(folder)
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


@pytest.mark.sampled(3)
@pytest.mark.parametrize('backbone', ENCODERS)
def test_every_weight_to_learn_gets_a_gradient(people, tmp_path, monkeypatch, backbone):
    """DistributedDataParallel refuses others."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    model, terms = step(options(tmp_path, people))
    assert {'loss', 'acc', *TERMS} == terms.keys()
    # Attributes of a new head are about as probable as not, and the loss has a weight of five.
    assert terms['loss_attributes'] == pytest.approx(5 * math.log(2), rel=0.05)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in learnt.items() if p.grad is None] == []
    for part in ('backbone.encoder.', 'neck.lateral_convs.', 'rpn_head.', HEAD):
        reached = [p.grad.any() for name, p in learnt.items() if name.startswith(part)]
        assert sum(reached) > 0.9 * len(reached) > 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    'backbone',
    [*ENCODERS, *(pytest.param(name, marks=pytest.mark.slow) for name in STRIDE_16)],
)
def test_two_iterations_and_an_evaluation(people, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = {**options(tmp_path / 'work', people), **images(4, 2)}
    runner, watch = train(changes)
    assert runner.iter == 2
    assert len(watch.sizes) >= 2
    assert all(max(size[2:]) <= 1.5 * SIZE + 32 for size in watch.sizes)
    # All annotations are counted, not those of the four images alone.
    counts = count_file(people / 'instances_attributes_train2020.json')
    head = runner.model.roi_head.attribute_head
    assert np.array_equal(head.knowledge.numpy(), matrix_of(counts, 'garments'))
    validated = {
        key: runner.message_hub.get_scalar(f'val/fashionpedia/{key}').current()
        for key in SCORES
    }
    shown = tmp_path / 'shown'
    tested = launch.evaluate(
        str(CONFIG), str(tmp_path / 'work/epoch_1.pth'), options=changes, show_dir=str(shown)
    )
    assert {f'fashionpedia/{key}': value for key, value in validated.items()} == tested
    assert all(0 <= value <= 100 for value in tested.values())
    names = sorted(path.name for path in shown.iterdir())
    assert names == sorted(os.listdir(people / 'test'))[:2]


def annotated(head, x, rpn_results_list, samples, rescale=False):
    """Annotated garments in the place of predicted ones."""
    found = []
    for sample in samples:
        garments = sample.gt_instances
        result = InstanceData(bboxes=garments.bboxes, labels=garments.labels)
        result.scores = torch.full((len(garments),), 0.9)
        result.masks = torch.from_numpy(garments.masks.masks.astype(bool))
        result.attributes = garments.attributes
        found.append(result)
    return found


def untrained(path: Path, root: Path, changes: dict) -> str:
    """Weights whose matrix is that of the set."""
    runner = Runner.from_cfg(launch.read_config(str(CONFIG), changes))
    state = runner.model.state_dict()
    counts = count_file(root / 'instances_attributes_train2020.json')
    state[f'{HEAD}knowledge'] = torch.from_numpy(matrix_of(counts, 'garments'))
    state[f'{HEAD}attribute_ids'] = torch.from_numpy(counts.attribute_ids)
    torch.save({'state_dict': state, 'meta': {}}, path)
    return str(path)


def test_annotated_garments_have_full_marks_and_words(people, tmp_path, monkeypatch):
    """Files, transforms, metric and pictures fit together."""
    monkeypatch.setattr(KERoIHead, 'predict', annotated)
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    changes = {**options(tmp_path / 'work', people), **images(2, 4)}
    checkpoint = untrained(tmp_path / 'any.pth', people, changes)
    shown = tmp_path / 'shown'
    tested = launch.evaluate(str(CONFIG), checkpoint, options=changes, show_dir=str(shown))
    assert tested == pytest.approx({f'fashionpedia/{key}': 100 for key in SCORES})
    name = min(os.listdir(shown))
    with Image.open(shown / name) as image:
        drawn = np.asarray(image.convert('RGB')).astype(int)
    with Image.open(people / 'test' / name) as image:
        plain = np.asarray(image.convert('RGB')).astype(int)
    height, width = plain.shape[:2]
    left, right = np.split(drawn, 2, axis=1)
    for half in (left, right):
        # A corner without a garment is as it was; below are words in colors on white.
        changed = np.abs(half[:height, :width] - plain).max(axis=-1) > 40
        assert 0.05 < changed.mean() < 0.9
        words = half[height:]
        assert (words.min(axis=-1) > 240).mean() > 0.5
        assert (np.ptp(words, axis=-1) > 60).sum() > 100


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ENCODERS)
def test_real_size(people, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    changes = {**data_options(people), **images(2, 1), 'train_cfg.max_epochs': 1}
    changes |= {'work_dir': str(tmp_path), 'train_dataloader.batch_size': 1}
    runner, watch = train(changes)
    assert runner.iter == 2
    assert max(size[2] for size in watch.sizes) >= 448
    assert 0 <= runner.message_hub.get_scalar('val/fashionpedia/segm_AP').current() <= 100


@pytest.mark.slow
@pytest.mark.usefixtures('one_process_group')
def test_it_trains_in_a_process_group(people, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    changes = {**options(tmp_path, people), **images(4, 2)}
    launch.train(str(CONFIG), options=changes, launcher='pytorch')
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert list(tmp_path.glob('best_fashionpedia_segm_AP_epoch_1.pth'))


def test_without_a_box_on_a_garment_attributes_still_have_gradients(
    people, tmp_path, monkeypatch
):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    changes = options(tmp_path, people)
    # Nothing overlaps a box by more than all of it, and garments are not proposed themselves.
    for key in ('pos_iou_thr', 'min_pos_iou'):
        changes[f'model.train_cfg.rcnn.assigner.{key}'] = 1.1
    changes['model.train_cfg.rcnn.sampler.add_gt_as_proposals'] = False
    model, terms = step(changes)
    assert terms['loss_attributes'] == 0
    head = dict(model.roi_head.attribute_head.named_parameters())
    assert [name for name, p in head.items() if p.grad is None] == []
    assert not any(p.grad.any() for p in head.values())


class EnoughError(Exception):
    """Ends a run where a test has seen enough."""


def start(changes: dict) -> Module:
    """The model when a training has begun, before its first iteration."""
    runner = Runner.from_cfg(launch.read_config(str(CONFIG), changes))

    def stop(*_, **__):
        raise EnoughError

    runner.model.train_step = stop
    with pytest.raises(EnoughError):
        runner.train()
    return runner.model


@pytest.fixture
def small(people, tmp_path, monkeypatch) -> dict:
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    return {**options(tmp_path / 'work', people), **images(2, 2)}


def test_the_matrix_of_the_weights_is_kept(people, tmp_path, small):
    """That of a file comes in at the beginning; whoever goes on with the weights keeps it."""
    counts = count_file(people / 'instances_attributes_train2020.json')
    other = counts._replace(pairs=counts.pairs // 2)
    save_counts(tmp_path / 'counts.npz', other)
    asked = {
        'custom_hooks.0.counts': str(tmp_path / 'counts.npz'),
        'custom_hooks.0.normalization': 'attributes',
    }
    model = start({**small, **asked})
    expected = matrix_of(other, 'attributes')
    assert np.array_equal(model.roi_head.attribute_head.knowledge.numpy(), expected)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'earlier.pth')
    resumed = start({**small, 'load_from': str(tmp_path / 'earlier.pth')})
    assert np.array_equal(resumed.roi_head.attribute_head.knowledge.numpy(), expected)


def test_a_test_needs_the_matrix_in_the_weights(people, tmp_path, small):
    path = untrained(tmp_path / 'any.pth', people, small)
    file = torch.load(path, weights_only=True)
    file['state_dict'][f'{HEAD}attribute_ids'].fill_(-1)  # as a new model has them
    torch.save(file, path)
    with pytest.raises(
        InputError, match=r'no knowledge matrix \(roi_head\.attribute_head\.kno'
    ):
        launch.evaluate(str(CONFIG), path, options=small)


def test_attributes_of_another_set_are_refused(people, tmp_path, small):
    """A test set whose columns mean something else; the model's come from the training."""
    path = untrained(tmp_path / 'any.pth', people, small)
    for split in ('train', 'test'):
        (tmp_path / 'other').mkdir(exist_ok=True)
        (tmp_path / 'other' / split).symlink_to(people / split)
    for name in ('instances_attributes_train2020.json', 'instances_attributes_val2020.json'):
        content = json.loads((people / name).read_text())
        for entry in content['attributes']:
            entry['id'] += entry['id'] == 340
        (tmp_path / 'other' / name).write_text(json.dumps(content))
    changes = {**small, **data_options(tmp_path / 'other')}
    message = r'attributes are not those of the model: only one of the two has the id 34'
    with pytest.raises(InputError, match=message):
        launch.evaluate(str(CONFIG), path, options=changes)
    with pytest.raises(InputError, match=message):
        start({**changes, 'load_from': path})


@pytest.mark.parametrize(
    ('change', 'kind', 'message'),
    [
        ({'counts': 'none.npz'}, MissingFileError, r'none\.npz: no such file; .*matrix\.py'),
        ({'normalization': 'rows'}, InputError, "normalization='rows'; choose garments"),
    ],
)
def test_options_of_the_hook_are_looked_at_before_anything_begins(small, change, kind, message):
    changes = {f'custom_hooks.0.{key}': value for key, value in change.items()}
    with pytest.raises(StartError, match=message) as caught:
        launch.train(str(CONFIG), options={**small, **changes})
    assert isinstance(caught.value.__cause__, kind) or kind is InputError


def detections(*rows: tuple[int, float, list[float]]) -> InstanceData:
    labels, scores, boxes = zip(*rows, strict=True)
    return InstanceData(
        bboxes=torch.tensor(boxes), scores=torch.tensor(scores), labels=torch.tensor(labels)
    )


@pytest.mark.parametrize('humans', [2, 0])
def test_who_wears_what_in_a_test(small, monkeypatch, humans):
    """The best-scored human, wherever it stands; without one, the box around all garments."""
    cfg = launch.read_config(str(CONFIG), small)
    head = Runner.from_cfg(cfg).model.roi_head.eval()
    garment, other = [40.0, 40, 60, 60], [50.0, 70, 90, 100]
    rows = [(1, 0.9, garment), (HUMAN, 0.5, [0.0, 0, 10, 10]), (31, 0.4, other)]
    rows.append((HUMAN, 0.8, [20.0, 20, 95, 99]))
    rows = [row for row in rows if humans or row[0] != HUMAN]
    seen = []

    def remember(x, boxes, people, labels):
        seen.append((boxes, people, labels))
        logits = torch.full((len(labels), 294), -5.0)
        logits[0, 3], logits[1, 7] = -0.8, -0.9  # probabilities 0.310 and 0.289
        return logits

    monkeypatch.setattr(head, '_logits', remember)
    monkeypatch.setattr(
        'mmdet.models.roi_heads.StandardRoIHead.predict_mask', lambda *given: given[3]
    )
    meta = dict(img_shape=(104, 128), scale_factor=(0.5, 0.5))
    empty = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    found, nothing = head.predict_mask((), [meta, meta], [detections(*rows), empty])
    ((boxes, people, labels),) = seen
    assert labels.tolist() == [1, 31]
    assert boxes[0].tolist() == [garment, other]
    assert len(boxes[1]) == len(people[1]) == 0
    # Ten pixels of the image are five of the scaled one.
    expected = [20, 20, 95, 99] if humans else [35, 35, 95, 104]
    assert people[0].tolist() == [expected]
    rows = found.attributes.nonzero().tolist()
    assert rows == [[0, 3]]
    assert nothing.attributes.shape == (0, 294)


def test_garments_of_an_image_get_its_own_person(small, monkeypatch):
    """Also where the image before has neither a garment nor a person."""
    head = Runner.from_cfg(launch.read_config(str(CONFIG), small)).model.roi_head.eval()
    given = []
    monkeypatch.setattr(
        head.attribute_head, 'forward', lambda regions, weights: given.append(regions)
    )
    maps = [torch.zeros(3, 256, 128 // s, 128 // s) for s in (4, 8, 16, 32, 64)]
    for level in maps:
        level += torch.arange(3.0)[:, None, None, None]
    box = torch.tensor([[10.0, 10, 60, 90]])
    none, two = box[:0], box.expand(2, 4)
    head._logits(maps, [box, none, two], [box, none, box * 0.5], torch.tensor([1, 2, 3]))
    (regions,) = given
    assert regions.parts[:, 0, 3, 3].tolist() == pytest.approx([0, 2, 2])
    assert regions.humans[:, 0, 7, 7].tolist() == pytest.approx([0, 2, 2])
    assert regions.offsets[:, 2].tolist() == pytest.approx([0, math.log(2), math.log(2)])
    assert regions.probabilities.shape == (3, 46)


def sampled(boxes: list[list[float]], labels: list[int], owners: list[int]) -> object:
    """What mmdetection hands on of sampled boxes, as far as it is read."""

    class Sampled:
        pos_priors = torch.tensor(boxes)
        pos_gt_labels = torch.tensor(labels)
        pos_assigned_gt_inds = torch.tensor(owners)

    return Sampled()


def test_targets_follow_the_garments_and_the_human_is_none(small, monkeypatch):
    """The human is found by its label, wherever it stands among the annotated objects."""
    head = Runner.from_cfg(launch.read_config(str(CONFIG), small)).model.roi_head
    head.max_garments = 2
    marked = torch.zeros(3, 294, dtype=torch.bool)
    marked[0, 5], marked[2, 9] = True, True
    instances = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 10], [0, 0, 50, 60], [20, 0, 30, 9]]),
        labels=torch.tensor([1, HUMAN, 31]),
        attributes=marked,
    )
    boxes = [[20.0, 0, 30, 8], [0, 0, 49, 60], [0, 0, 9, 10], [1, 0, 9, 10]]
    result = sampled(boxes, [31, HUMAN, 1, 1], [2, 1, 0, 0])
    seen = []

    def remember(x, boxes, people, labels):
        seen.append((boxes[0].tolist(), people[0].tolist(), labels.tolist()))
        return torch.zeros(len(labels), 294)

    def keep(logits, targets):
        seen.append(targets.int().argmax(dim=1).tolist())
        return logits.sum()

    monkeypatch.setattr(head, '_logits', remember)
    monkeypatch.setattr(head.attribute_head, 'loss', keep)
    chosen = set()
    for _ in range(20):
        seen.clear()
        head._attribute_loss((), [result], [instances])
        (own, people, labels), targets = seen
        assert people == [[0, 0, 50, 60]]
        assert len(own) == 2
        for box, label, column in zip(own, labels, targets, strict=True):
            assert (label, column) == ((31, 9) if box == boxes[0] else (1, 5))
            chosen.add(tuple(box))
    assert chosen == {tuple(boxes[n]) for n in (0, 2, 3)}


def test_what_is_wrong_with_the_data_stops_before_the_first_iteration(people, tmp_path, small):
    (tmp_path / 'other').mkdir()
    for name in os.listdir(people):
        if not name.startswith('instances_attributes_train'):
            (tmp_path / 'other' / name).symlink_to(people / name)
    with pytest.raises(StartError, match=r'attributes_train2020\.json: no such file'):
        launch.train(str(CONFIG), options={**small, **data_options(tmp_path / 'other')})
