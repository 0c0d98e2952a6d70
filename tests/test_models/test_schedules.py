"""Values that follow the progress of a run."""

import math

import pytest
import torch

from saip.errors import InputError
from saip.models.heads import SelfDistillationHead
from saip.models.schedules import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    OfficialCosineSchedule,
    build_schedule,
    cosine,
)
from saip.structures import Progress


def test_cosine_end_points_and_middle():
    assert cosine(0, 0.996, 1.0) == 0.996
    assert cosine(1, 0.996, 1.0) == 1.0
    assert cosine(0.5, 0.0, 1.0) == pytest.approx(0.5)
    assert cosine(0.25, 0.0, 1.0) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)
    assert cosine(5, 0.996, 1.0) == 1.0


def test_progress_counts_as_the_optimizer_does():
    places = [Progress.at(step, 10, 5, accumulated=4) for step in range(10)]
    assert [p.optimizer_step for p in places] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert {p.total_optimizer_steps for p in places} == {3}  # the last has two micro-batches
    assert [p.epoch for p in places] == [0] * 5 + [1] * 5
    assert [p.share for p in places[::4]] == [0, 1 / 3, 2 / 3]


def test_a_schedule_survives_another_batch_size():
    for schedule in (CosineSchedule(0.9, 1.0), LinearSchedule(0.04, 0.07, epochs=3)):
        small = [schedule(Progress.at(4 * step, 80, 8)) for step in range(20)]
        large = [schedule(Progress.at(step, 20, 2)) for step in range(20)]
        accumulated = [schedule(Progress.at(4 * step, 80, 8, 4)) for step in range(20)]
        assert small == pytest.approx(large)
        assert accumulated == pytest.approx(large)


def test_linear_reaches_its_end_after_its_epochs():
    schedule = LinearSchedule(0.04, 0.07, epochs=2)
    values = [schedule(Progress.at(step, 50, 10)) for step in range(50)]
    assert values[0] == 0.04
    assert values[10] == pytest.approx(0.055)
    assert values[20:] == pytest.approx([0.07] * 30)
    with pytest.raises(ValueError, match='epochs=0'):
        LinearSchedule(0.04, 0.07, epochs=0)


def test_the_release_starts_again_every_epoch():
    schedule = OfficialCosineSchedule(0.996, 1.0)
    values = [schedule(Progress.at(step, 30, 10, accumulated=4)) for step in range(30)]
    assert values[:10] == values[10:20] == [cosine(i / 30, 0.996, 1.0) for i in range(10)]


def test_a_number_is_a_constant_and_anything_else_is_refused():
    assert build_schedule(0.5) == ConstantSchedule(0.5)
    assert build_schedule(dict(type='saip.CosineSchedule', start=0, end=1)) == CosineSchedule(
        0, 1
    )
    for wrong in (True, 'cosine', None, dict(type='saip.FeatureDistillationHead')):
        with pytest.raises(InputError):
            build_schedule(wrong)


def test_the_temperature_of_the_targets_follows_its_schedule_in_any_type():
    schedule = dict(type='saip.LinearSchedule', start=0.04, end=0.07, epochs=1)
    head = SelfDistillationHead(out_channels=4, teacher_temp=schedule)
    assert head.double().teacher_temp.item() == 0.04
    head.begin_step(Progress.at(5, 100, 10))
    assert head.teacher_temp.item() == pytest.approx(0.055, abs=1e-15)
    assert head.float().double().teacher_temp.item() == pytest.approx(0.055, abs=1e-15)
    assert 'teacher_temp' not in head.state_dict()
    scores = torch.randn(4, 4, dtype=torch.float64)
    found = head.loss(scores, scores, {}, 2)['entropy']
    q = (scores / 0.055).softmax(-1)
    torch.testing.assert_close(found, -(q * q.log()).sum(-1).mean())
