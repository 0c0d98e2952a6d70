"""The algorithm as a whole: presets, subsets of objectives, gradients, predictions."""

from itertools import chain, combinations

import pytest
import torch

from saip.models.experts import EMAExpert
from saip.models.objectives import CrossScaleSearch
from saip.registry import MODELS
from tests.tiny import PRESETS, batch, build, losses, preset_config, progress, total

OBJECTIVES = ('csm', 'csr', 'css')
STARNET = dict(type='saip.TimmEncoder', model='starnet_s3')
SUBSETS = list(chain.from_iterable(combinations(OBJECTIVES, n) for n in (1, 2, 3)))


@pytest.mark.parametrize('preset', PRESETS)
def test_every_trainable_parameter_learns_and_the_expert_does_not(preset):
    model = build(preset)
    total(losses(model, batch())).backward()
    for name, parameter in model.named_parameters():
        if name.startswith('expert.'):
            assert not parameter.requires_grad
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('preset', PRESETS)
def test_losses_start_where_theory_says(preset):
    terms = losses(build(preset), batch(8))
    ln_k = 4.1589
    assert 0 < terms['loss_csm'].item() < 2 * ln_k
    assert 0 < terms['csm_teacher_entropy'].item() <= ln_k
    assert 0.5 < terms['loss_csr'].item() < 4
    if preset == 'saip-official':
        # Student and expert are equal at the start.
        assert terms['loss_relation'].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('subset', SUBSETS, ids='+'.join)
def test_a_subset_computes_only_what_it_reads(subset):
    without = tuple(name for name in OBJECTIVES if name not in subset)
    model = build('saip', without=without)
    calls = {'student': [], 'expert': []}
    for name, encoder in (('student', model.backbone), ('expert', model.expert.backbone)):
        original = encoder.encode_requests

        def spy(requests, name=name, original=original):
            calls[name] += [tuple(r.images.shape) for r in requests]
            return original(requests)

        encoder.encode_requests = spy
    model.begin_step(progress())
    data = model.data_preprocessor(batch(), training=True)
    views = set(data['inputs'].by_name)
    terms = model(**data, mode='loss')
    assert {name for name in terms if 'loss' in name} == {f'loss_{name}' for name in subset}
    multires = {'multires_0', 'multires_1'}
    read = {
        'csm': {'anchor', 'augmented', 'local_crops'} | multires,
        'csr': {'anchor', 'masked'},
        'css': {'scene'} | multires,
    }
    assert views == set().union(*(read[name] for name in subset))
    scenes = [shape for shape in calls['expert'] if shape[-2:] == (224, 224)]
    assert len(scenes) == ('css' in subset)
    assert len(calls['expert']) == ('css' in subset) + ('csm' in subset)
    assert any(shape[0] == 24 for shape in calls['student']) is ('csm' in subset)
    decoders = {name.split('.')[1] for name, _ in model.named_parameters() if 'neck' in name}
    assert decoders == set(subset)
    assert hasattr(model.expert, 'csm_projector') is ('csm' in subset)
    total(terms).backward()
    unread = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unread == []


@pytest.mark.parametrize('backbone', [{}, STARNET])
@pytest.mark.parametrize('without', [('csm',), ('csr',), ()], ids='+'.join)
def test_experts_and_objectives_are_built_once(backbone, without, monkeypatch):
    """Where nothing reads the last block, the depth of dense features is known before."""
    made = []

    def count(cls):
        original = cls.__init__

        def init(self, *args, **kwargs):
            made.append(cls)
            original(self, *args, **kwargs)

        monkeypatch.setattr(cls, '__init__', init)

    count(EMAExpert)
    count(CrossScaleSearch)
    cfg = preset_config('saip')
    cfg.model.objectives.update(dict.fromkeys(without))
    if backbone:
        cfg.model.backbone = backbone
    model = MODELS.build(cfg.model)
    assert made.count(EMAExpert) == 1
    assert made.count(CrossScaleSearch) == 1
    assert model.backbone.dense_is_final is (without == ('csm',))
    width = model.backbone.dense_dims
    assert model.objectives['css'].neck.query_embed.in_features == width
    assert model.objectives['css'].neck.key_embed.in_features == width
    assert model.expert.dense_dims == width


def test_objectives_that_do_not_train_the_encoder_are_refused():
    with pytest.raises(ValueError, match='objectives relation read neither image nor patch'):
        build('saip-official', without=OBJECTIVES)


def test_masks_of_the_release_need_no_expert_pass_for_reconstruction():
    model = build('saip', without=('csm', 'css'))
    assert model.expert_inputs == {}


@pytest.mark.parametrize('size', [(256, 192), (384, 128), (224, 224), (128, 64)])
@pytest.mark.parametrize('preset', ['saip', 'saip-paper'])
def test_other_anchor_sizes(preset, size):
    terms = losses(build(preset, size=size), batch(2))
    assert all(value.isfinite() for value in terms.values())


@pytest.mark.parametrize('size', [(256, 192), (384, 128)])
def test_other_anchor_sizes_of_the_release(size):
    terms = losses(build('saip-official', size=size), batch(2))
    assert all(value.isfinite() for value in terms.values())


def test_what_a_preset_cannot_do_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r'needs whole patches of 16, .* can be 280x280'):
        build('saip-official', size=(224, 224))


def test_a_view_that_no_recipe_makes_is_named():
    with pytest.raises(ValueError, match=r"objective 'css' reads the view\(s\) scene"):
        build('saip', views=dict(scene=None))


def test_no_objective_is_an_error():
    with pytest.raises(ValueError, match='every objective is None'):
        build('saip', without=OBJECTIVES)


def test_sizes_of_encoder_and_views_must_agree():
    cfg = preset_config('saip')
    cfg.model.backbone.img_size = (384, 128)
    with pytest.raises(ValueError, match='leave img_size out'):
        MODELS.build(cfg.model)


def test_the_expert_starts_equal_and_moves_by_the_momentum():
    model = build()
    twin = model.expert.backbone.layers[0].attn.qkv.weight
    student = model.backbone.layers[0].attn.qkv.weight
    assert torch.equal(twin, student)
    before = twin.clone()
    with torch.no_grad():
        student.add_(1)
    model.expert.update(0.9)
    torch.testing.assert_close(twin, 0.9 * before + 0.1 * student)
    assert model.expert.steps.item() == 1
    assert not model.expert.training
    names = {name.split('.')[1] for name, _ in model.named_parameters() if 'expert.' in name}
    assert names == {'backbone', 'dense_norm', 'csm_projector'}


def test_views_follow_the_progress():
    model, data = build(), batch()
    first = losses(model, data, step=15)
    again = losses(model, data, step=15)
    other = losses(model, data, step=26)
    assert torch.equal(first['loss_csr'], again['loss_csr'])
    assert not torch.equal(first['loss_csr'], other['loss_csr'])


def test_predictions_of_images_and_of_two_views():
    model = build().eval()
    images = dict(
        image=torch.randint(0, 256, (3, 3, 256, 128), dtype=torch.uint8),
        pid=torch.tensor([4, 4, 7]),
        camid=torch.tensor([0, 1, 0]),
        is_query=torch.tensor([1, 0, 0]),
        index=torch.arange(3),
    )
    found = model(**model.data_preprocessor(images, training=False), mode='predict')
    assert [(x['pid'], x['camid'], x['is_query'], x['index']) for x in found] == [
        (4, 0, 1, 0),
        (4, 1, 0, 1),
        (7, 0, 0, 2),
    ]
    inputs = model.data_preprocessor(images, training=False)['inputs']
    torch.testing.assert_close(
        torch.stack([x['student'] for x in found]), model.backbone.encode(inputs).image_token
    )
    pairs = model(**model.data_preprocessor(batch(3), training=False), mode='predict')
    assert [x['student'].shape for x in pairs] == [(2, 48)] * 3
    assert [x['index'] for x in pairs] == [0, 1, 2]


def test_the_algorithm_is_known_to_mmpretrain():
    from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

    assert MMPRETRAIN_MODELS.get('SAIP') is type(build())
