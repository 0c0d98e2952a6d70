"""DINO as a combination of the parts, against its formula with a loop over all pairs of views."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from saip.registry import MODELS
from saip.structures import Progress
from tests.tiny import ARCH, ROOT, batch

PREDICTORS = ('anchor', 'augmented', 'local_crops')
PROGRESS = Progress.at(5, 400, 10)  # half an epoch into a run of forty


def build(size=(64, 32), local=(32, 16), number=2, **csm):
    """The preset with a small encoder without drop path; the student has left its expert."""
    cfg = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/dino.py')
    views = cfg.model.data_preprocessor.views
    cfg.model.data_preprocessor.size = size
    views.local_crops.update(size=local, number=number)
    cfg.model.backbone = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2)
    small = dict(hidden_channels=32, bottleneck_channels=16, out_channels=24)
    cfg.model.objectives.csm.neck.update(small)
    cfg.model.objectives.csm.update(csm)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        for parameter in (*model.backbone.parameters(), *model.objectives.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.objectives['csm'].head.center.copy_(torch.randn(24) * 0.1)
    return model.train()


def scores(encoder, projector, images):
    return projector(encoder.encode(images).require_image_token())


@pytest.mark.parametrize('images', [1, 3])
@pytest.mark.parametrize(
    ('size', 'local', 'number'),
    [
        ((64, 32), (32, 16), 8),
        ((64, 32), (64, 32), 2),  # local crops of the same size share the globals' call
        ((48, 48), (16, 48), 1),  # of the same width as the globals, but lower
        ((32, 64), (32, 32), 3),  # of the same height, but narrower
    ],
)
def test_loss_against_one_call_per_view_and_a_loop_over_pairs(size, local, number, images):
    model = build(size, local, number)
    csm = model.objectives['csm']
    model.begin_step(PROGRESS)
    views = model.data_preprocessor(batch(images), training=True)['inputs']
    assert set(views.by_name) == set(PREDICTORS)
    found = model(views, mode='loss')
    student, teacher = [], []
    twin = model.expert.modules_by_name()['csm_projector']
    for name in PREDICTORS:
        for each in views[name].images.split(images):
            student.append(scores(model.backbone, csm.neck, each))
            with torch.no_grad():
                teacher.append(scores(model.expert.encoder(), twin, each))
    assert len(student) == 2 + number
    temperature = 0.04 + (0.07 - 0.04) * 0.5 / 30
    total, pairs = 0.0, 0
    for t in range(2):
        target = ((teacher[t] - csm.head.center) / temperature).softmax(-1)
        for s, ours in enumerate(student):
            if s != t:
                total = total - (target * F.log_softmax(ours / 0.1, -1)).sum(-1).mean()
                pairs += 1
    assert pairs == 2 * (2 + number) - 2
    torch.testing.assert_close(found['loss_csm'], total / pairs, rtol=1e-4, atol=1e-5)


def test_temperature_of_the_targets_rises_over_thirty_epochs():
    head = build().objectives['csm'].head
    temperatures = []
    for epoch in (0, 15, 30, 39):
        head.begin_step(Progress.at(10 * epoch, 400, 10))
        temperatures.append(head.teacher_temp.item())
    assert temperatures == pytest.approx([0.04, 0.055, 0.07, 0.07])


def test_predictors_are_what_the_student_encodes():
    model = build(predictors=('augmented', 'local_crops'))
    assert set(model.student_inputs) == {'augmented', 'local_crops'}
    assert set(model.expert_inputs) == {'anchor', 'augmented'}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(predictors=()), r'predictors=\(\): no view predicts another'),
        (dict(predictors=('anchor', 'zoom')), r"'csm' reads the view\(s\) zoom, which"),
        (
            dict(target='student_anchor', predictors=('anchor',)),
            r"predictors=\('anchor',\): no view predicts another",
        ),
    ],
)
def test_wrong_predictors_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
