"""The cycle: averaging, statistics, corrected labels, and what predicts."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from saip.downstream.part_segmentation import SelfCorrectionHook

from .small import SIZE, batch, segmentor


def scatter(model) -> dict[str, torch.Tensor]:
    """Move all weights at random, as a cycle of training would; return them."""
    moved = {}
    for name, value in model.named_parameters():
        if not name.startswith('averaged.'):
            value.data.add_(torch.randn_like(value) * 0.1)
            moved[name] = value.detach().clone()
    return moved


def averaged(model) -> dict[str, torch.Tensor]:
    return dict(model.averaged.module.named_parameters())


def test_after_n_cycles_the_average_is_the_mean_of_their_ends():
    model = segmentor()
    ends = []
    for number in range(1, 5):
        ends.append(scatter(model))
        model.end_cycle([batch()])
        assert model.cycles == number
        found = averaged(model)
        assert found.keys() == ends[0].keys()
        for name, value in found.items():
            expected = torch.stack([end[name] for end in ends]).mean(0)
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
def test_the_number_of_cycles_comes_with_the_weights(load):
    model = segmentor()
    for _ in range(2):
        model.end_cycle([batch()])
    other = segmentor()
    load(other, model.state_dict())
    assert other.cycles == 2


def test_statistics_of_the_average_are_those_of_the_training_data():
    model = segmentor()
    scatter(model)
    norm = model.averaged.module.decode_head.part_features[1].bn
    seen = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    batches = [batch(seed=seed) for seed in range(3)]
    model.end_cycle(batches)
    assert len(seen) == 3
    means = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.1
    assert not norm.training
    own = model.decode_head.part_features[1].bn
    assert own.training
    assert torch.equal(own.running_mean, torch.zeros(8))


def test_before_the_first_cycle_parts_cost_their_cross_entropy():
    model = segmentor(part_weight=3.0)
    data = model.data_preprocessor(batch(), training=True)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data[:, :20] = 255
    logits = model.decode_head(model.extract_feat(data['inputs']))
    expected = 0.0
    for output in (logits.parts, logits.fused):
        large = F.interpolate(output, SIZE, mode='bilinear', align_corners=True)
        shares = large.softmax(1)
        terms = [
            -shares[i, :, 20:].gather(0, sample.gt_sem_seg.data[:, 20:]).log()
            for i, sample in enumerate(data['data_samples'])
        ]
        expected += torch.stack(terms).mean()
    assert model._ema_logits(data['inputs']) is None
    found = model.loss(**data)['loss_parts']
    torch.testing.assert_close(found, 3.0 * expected / 2)


def test_a_batch_to_ignore_teaches_nothing():
    model = segmentor()
    data = model.data_preprocessor(batch(), training=True)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data[:] = 255
    for _ in range(2):
        losses = model.loss(**data)
        assert [value.item() for value in losses.values()] == [0.0] * 4
        model.end_cycle([batch()])


@pytest.mark.parametrize('cycles', [1, 3])
def test_labels_are_corrected_by_the_average_with_the_share_of_the_cycles(cycles):
    model = segmentor()
    for _ in range(cycles):
        scatter(model)
        model.end_cycle([batch()])
    scatter(model)
    data = model.data_preprocessor(batch(), training=True)
    ema_logits = model._ema_logits(data['inputs'])
    assert ema_logits.share == pytest.approx(1 / (cycles + 1))
    # A model of its own with the average's weights and statistics says the same.
    other = segmentor()
    other.backbone.load_state_dict(model.averaged.module.backbone.state_dict())
    other.decode_head.load_state_dict(model.averaged.module.decode_head.state_dict())
    other.eval()
    with torch.no_grad():
        expected = other.decode_head(other.extract_feat(data['inputs']))
    torch.testing.assert_close(ema_logits.fused, expected.fused)
    torch.testing.assert_close(ema_logits.edges, expected.edges)
    assert not ema_logits.fused.requires_grad


def test_cross_entropies_become_divergences_after_the_first_cycle():
    model = segmentor()
    data = model.data_preprocessor(batch(), training=True)
    before = model.loss(**data)
    model.end_cycle([batch()])
    after = model.loss(**data)
    assert before.keys() == after.keys()
    assert all(name.startswith('loss_') for name in before)
    for name in ('loss_lovasz', 'loss_consistency'):
        torch.testing.assert_close(after[name], before[name])
    assert after['loss_parts'] < before['loss_parts'] / 4
    assert after['loss_edges'] < before['loss_edges']


def test_every_weight_learns_and_the_average_stands_still():
    model = segmentor()
    model.end_cycle([batch()])
    before = {name: value.clone() for name, value in averaged(model).items()}
    statistics = model.averaged.module.decode_head.detail.bn.running_mean.clone()
    data = model.data_preprocessor(batch(), training=True)
    sum(model.loss(**data).values()).backward()
    own = dict(model.named_parameters())
    without = [n for n, p in own.items() if p.grad is None and p.requires_grad]
    assert without == []
    assert all(value.grad is None for value in averaged(model).values())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    optimizer.step()
    for name, value in averaged(model).items():
        assert torch.equal(value, before[name])
    assert torch.equal(model.averaged.module.decode_head.detail.bn.running_mean, statistics)


def test_the_average_predicts_once_there_is_one():
    model = segmentor()
    data = batch()

    def predict():
        model.eval()
        return torch.stack([s.pred_sem_seg.data for s in model.test_step(batch())])

    scatter(model)
    first = predict()
    scatter(model)
    assert not torch.equal(predict(), first)
    model.train()
    model.end_cycle([data])
    with_average = predict()
    scatter(model)
    assert torch.equal(predict(), with_average)


def test_predictions_have_the_size_of_the_image():
    model = segmentor().eval()
    data = batch()
    for sample in data['data_samples']:
        sample.set_metainfo(dict(ori_shape=(30, 41)))
    assert [s.pred_sem_seg.shape for s in model.test_step(data)] == [(30, 41)] * 2


def test_a_pipeline_without_the_matrix_is_explained():
    model = segmentor().eval()
    data = batch()
    for sample in data['data_samples']:
        del sample.affine
    with pytest.raises(
        ValueError, match=r"saip\.PersonAffine, and PackSegInputs 'affine' among"
    ):
        model.test_step(data)


def test_images_without_samples_are_predicted_at_their_size():
    model = segmentor().eval()
    samples = model(torch.zeros(1, 3, *SIZE), None, mode='predict')
    assert samples[0].pred_sem_seg.shape == SIZE


@pytest.mark.parametrize('epochs', [[], [0, 2], [3, 2], [2, 2]])
def test_epochs_have_to_grow(epochs):
    with pytest.raises(ValueError, match='growing numbers from 1 on'):
        SelfCorrectionHook(epochs)


def test_a_cycle_beyond_the_run_is_refused():
    runner = SimpleNamespace(max_epochs=9)
    SelfCorrectionHook([3, 9]).before_train(runner)
    with pytest.raises(ValueError, match=r'epochs=\(3, 10\).*max_epochs=9'):
        SelfCorrectionHook([3, 10]).before_train(runner)
