"""Methods beside SAIP: without an expert, with views made from features, with other features."""

import re

import pytest
import torch
from mmengine.config import Config
from torch import nn

from saip.analysis.step_flops import count_step
from saip.engine.options import parse_options
from saip.errors import InputError
from saip.models.objectives import BaseObjective
from saip.registry import MODELS
from saip.structures import EncodeRequest, Outputs, PatchMask, View, Views
from tests.tiny import ARCH, batch, losses, preset_config, progress, total

CROPS = {'anchor': {'type': 'Crop'}, 'augmented': {'type': 'Crop', 'augment': {'flip': 0.5}}}
SPREAD = {'spread': {'type': 'saip.KoLeo'}}
KEPT = 8


def build(objectives, views=None, expert=None, **options):
    """A small method at 128x64, initialized, in training mode."""
    cfg = dict(
        type='saip.Pretrainer',
        backbone=dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2),
        data_preprocessor=dict(
            type='saip.ViewsPreprocessor', size=(128, 64), patch_size=16, views=views or CROPS
        ),
        objectives=objectives,
        expert=expert,
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg | options)
    model.init_weights()
    return model.train()


class PatchPull(BaseObjective):
    """Pulls final patch tokens of a view together; owns no parameter and reads no expert."""

    def __init__(self, parts, view: str = 'anchor') -> None:
        super().__init__(parts)
        self.view = view

    def student_inputs(self):
        return {self.view: Outputs(patch_tokens=True)}

    def loss(self, student, expert, views):
        tokens = student.views[self.view].require_final().require_patch_tokens()
        return {'loss': tokens.var(1).mean()}


class SelectedPatches(BaseObjective):
    """The expert chooses the patches of which the student makes the anchor's image token."""

    def student_inputs(self):
        return {'selected': Outputs(image_token=True)}

    def expert_inputs(self):
        return {'anchor': Outputs(image_token=True, patch_tokens=True)}

    def derived_views(self):
        return frozenset({'selected'})

    def other_views(self):
        return frozenset({'anchor', 'selected'})

    def derive(self, expert, views):
        tokens = expert.views['anchor'].require_final().require_patch_tokens()
        ranked = (tokens * torch.linspace(-1, 1, tokens.shape[-1])).sum(-1).argsort(1)
        keep = ranked[:, -KEPT:].sort(1).values
        mask = PatchMask(keep, ranked, ranked[:, :-KEPT])
        goal = expert.views['anchor'].require_final().require_image_token()
        return Views({'selected': View(views['anchor'].images, mask)}, {'goal': goal})

    def loss(self, student, expert, views):
        token = student.views['selected'].require_final().require_image_token()
        return {'loss': (token - views.targets['goal']).square().mean()}


class ReadsAnExpert(BaseObjective):
    """Asks for the expert's features without asking for an expert."""

    def student_inputs(self):
        return {'anchor': Outputs(image_token=True)}

    def expert_inputs(self):
        return {'anchor': Outputs(image_token=True)}

    def loss(self, student, expert, views):
        raise AssertionError('no model is built')


class TwinsOnly(ReadsAnExpert):
    """Asks for a twin alone."""

    def expert_inputs(self):
        return {}

    def twins(self):
        return {'head': nn.Linear(2, 2)}


class ExpertOfADerivedView(SelectedPatches):
    """Would have the expert encode what is made of its features."""

    def expert_inputs(self):
        return {
            'anchor': Outputs(image_token=True, patch_tokens=True),
            'selected': Outputs(image_token=True),
        }


class WronglyDeclared(PatchPull):
    """Reads the last block and denies it."""

    reads_last_block = False


class DenseButDeclared(PatchPull):
    """Reads dense features alone and claims the last block."""

    def student_inputs(self):
        return {self.view: Outputs(dense=True)}


@pytest.mark.parametrize(
    'objectives',
    [SPREAD, {'pull': {'type': PatchPull}}, {**SPREAD, 'pull': {'type': PatchPull}}],
)
def test_a_method_without_an_expert_trains_and_predicts_the_student_alone(objectives):
    model = build(objectives)
    assert not any('expert' in name for name in model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    found = []
    for _ in range(5):
        terms = losses(model, batch())
        assert set(terms) == {f'loss_{name}' for name in objectives}
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
        found.append(total(terms).item())
    assert found[-1] < found[0]  # the same views again: the step before must have helped
    still = [n for n, p in model.backbone.named_parameters() if torch.equal(before[n], p)]
    assert still == []
    predicted = model.eval()(
        **model.data_preprocessor(batch(3), training=False), mode='predict'
    )
    assert [set(row) - {'key', 'index', 'replaced'} for row in predicted] == [{'student'}] * 3


def test_reconstruction_by_the_student_needs_no_expert():
    cfg = preset_config('saip', size=(128, 64))
    cfg.model.expert = None
    cfg.model.objectives.update(csm=None, css=None)
    model = MODELS.build(cfg.model)
    model.init_weights()
    terms = losses(model.train(), batch(2))
    assert set(terms) == {'loss_csr'}
    total(terms).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ('preset', 'only', 'reader'),
    [
        ('saip', 'csm', r'cross-scale matching \(csm\)'),
        ('saip', 'css', r'cross-scale search \(css\)'),
        ('saip-paper', 'csr', "csr masked_by='expert'"),
        ('saip-official', 'relation', 'relation objective'),
    ],
)
def test_an_objective_that_needs_an_expert_is_refused_without_one(preset, only, reader):
    cfg = preset_config(preset)
    cfg.model.expert = None
    for name in cfg.model.objectives:
        if name != only:
            cfg.model.objectives[name] = None
    with pytest.raises(ValueError, match=f'{reader}.* model.expert is None.*saip.EMAExpert'):
        MODELS.build(cfg.model)


@pytest.mark.parametrize('kind', [ReadsAnExpert, TwinsOnly])
def test_an_objective_that_reads_one_anyway_is_named(kind):
    with pytest.raises(ValueError, match=r'the objectives reader read .* model.expert is None'):
        build({**SPREAD, 'reader': {'type': kind}})


def test_the_student_encodes_what_an_objective_derives_from_the_expert():
    """Against the same selection, computed from the encoder's public methods."""
    expert = dict(type='saip.EMAExpert')
    model = build({'select': {'type': SelectedPatches}}, expert=expert).eval()
    assert list(model.student_inputs) == ['selected']
    assert list(model.expert_inputs) == ['anchor']
    model.begin_step(progress())
    views = model.data_preprocessor(batch(), training=True)['inputs']
    assert set(views.by_name) == {'anchor'}
    images = views['anchor'].images
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        seen = model.expert.encoder().encode(images)
        scores = seen.patch_tokens @ torch.linspace(-1, 1, 48)
        keep = scores.topk(KEPT, 1).indices.sort(1).values
    request = EncodeRequest(images, Outputs(image_token=True), keep)
    token = model.backbone.encode_requests([request])[0].final.image_token
    expected = (token - seen.image_token).square().mean()
    terms = model(views, mode='loss')
    torch.testing.assert_close(terms['loss_select'], expected)
    assert set(views.by_name) == {'anchor'}  # what was given is not changed
    terms['loss_select'].backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    assert all(p.grad is None for p in model.expert.parameters())


def test_operations_of_derived_views_are_counted():
    model = build({'select': {'type': SelectedPatches}}, expert=dict(type='saip.EMAExpert'))
    model.begin_step(progress())
    views = model.data_preprocessor(batch(), training=True)['inputs']
    spent = count_step(model, views)
    assert set(spent) == {'expert encoder', 'student encoder', 'select'}
    # Forward and backward are three forward passes' worth, here of 8 of the 32 patches.
    assert 0 < spent['student encoder'] < 1.5 * spent['expert encoder']


def test_a_view_that_is_derived_cannot_be_the_experts():
    objectives = {'select': {'type': ExpertOfADerivedView}}
    with pytest.raises(ValueError, match=r"'select' reads the view\(s\) selected, which"):
        build(objectives, expert=dict(type='saip.EMAExpert'))


def test_the_mean_of_patches_as_the_feature():
    images = torch.randint(0, 256, (3, 3, 128, 64), dtype=torch.uint8)
    for expert in (None, dict(type='saip.EMAExpert')):
        model = build(SPREAD, expert=expert, feature='patch_mean').eval()
        data = model.data_preprocessor({'image': images, 'pid': torch.arange(3)})
        found = model(**data, mode='predict')
        tokens = model.backbone.encode(data['inputs']).patch_tokens
        assert tokens.shape == (3, 32, 48)
        torch.testing.assert_close(
            torch.stack([row['student'] for row in found]), tokens.sum(1) / 32
        )
        assert [set(row) for row in found] == [
            {'student', 'pid', *(['expert'] if expert else [])}
        ] * 3
        if expert:
            torch.testing.assert_close(found[0]['expert'], found[0]['student'])


def test_an_unknown_feature_is_refused():
    with pytest.raises(
        ValueError, match=r"feature='cls': choose one of image_token, patch_mean"
    ):
        build(SPREAD, feature='cls')


@pytest.mark.parametrize(
    ('kind', 'says'),
    [(WronglyDeclared, 'False.* say True'), (DenseButDeclared, 'True.* say False')],
)
def test_a_wrong_declaration_of_the_last_block_is_an_error(kind, says):
    with pytest.raises(
        TypeError, match=rf'{kind.__name__} \(model\.objectives\.mine\).*={says}'
    ):
        build({'mine': {'type': kind}})


def test_unknown_objectives_are_named():
    with pytest.raises(
        ValueError, match=r"objectives\.mine: there is no objective type='Mine'"
    ):
        build({'mine': {'type': 'Mine'}})


@pytest.mark.parametrize(
    'given', ['', 'saip.KoLeo', 3, {}, {'type': ''}, {'type': 'saip.SAIP'}]
)
def test_a_value_that_is_no_objective_is_refused_with_what_is_right(given):
    with pytest.raises(
        InputError, match=r'model\.objectives\.mine: dict.* or None, which leaves it out; got'
    ):
        build({**SPREAD, 'mine': given})


def test_objectives_that_are_no_dict_are_refused():
    with pytest.raises(InputError, match=r"model\.objectives='': a dict of objectives"):
        build('')


def test_the_advice_for_a_view_with_a_condition_can_be_typed():
    views = {'told': {'type': 'Bernoulli', 'probability': 0.5}, **CROPS}
    views['anchor'] = {'type': 'Crop', 'condition': 'told'}
    with pytest.raises(InputError, match=r'set (\S+), or') as caught:
        build(SPREAD, views)
    (advice,) = re.findall(r'set (\S+), or', str(caught.value))
    backbone = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2)
    cfg = Config({'model': {'backbone': backbone}})
    cfg.merge_from_dict(parse_options([advice]))
    assert build(SPREAD, views, backbone=cfg.model.backbone).backbone.has_controller


def test_saip_is_one_of_the_family():
    from saip.models.selfsup import SAIP, Pretrainer

    assert issubclass(SAIP, Pretrainer)
    assert MODELS.get('saip.Pretrainer') is Pretrainer
