"""SOLIDER: who is told what, what is erased, and the loss of the parts."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from saip.analysis.step_flops import step_cost
from saip.checkpoint import write_checkpoint
from saip.engine.launch import drop_pretrained
from saip.errors import InputError
from saip.models.objectives.semantic_parts import erase
from saip.models.selfsup.encoding import encode_views
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, View, Views
from tests.tiny import ARCH, ROOT, batch, losses, progress, total

GRID = (8, 4)


def config(**changes) -> Config:
    """SOLIDER in small with a tiny encoder; ``changes`` are dotted keys of the model."""
    cfg = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/solider-small.py')
    backbone = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2)
    cfg.model.backbone = dict(**backbone, **cfg.encoder_options)
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    return cfg


def build(**changes):
    torch.manual_seed(0)
    model = MODELS.build(config(**changes).model)
    model.init_weights()
    return model.train()


def with_gains(model):
    """The final norm of a ViT has learnt gains, so that tokens differ in length."""
    with torch.no_grad():
        gains = torch.linspace(0.2, 3, model.backbone.embed_dims)
        for encoder in (model.backbone, model.expert.backbone):
            encoder.ln1.weight.copy_(gains)
    return model


@pytest.fixture
def model():
    return with_gains(build())


def step_of(model, data=None):
    """Views, the expert's features and all views of one step, by default of six images."""
    model.begin_step(progress())
    views = model.data_preprocessor(data or batch(6), training=True)['inputs']
    experts = model.as_seen_by_objectives(model.encode_by_expert(views))
    return views, experts, model.derive_views(experts, views)


def test_the_expert_clusters_at_one_and_the_rest_is_told_the_images_own(model, monkeypatch):
    told: dict[str, list] = {'student': [], 'expert': []}
    for name, encoder in (('student', model.backbone), ('expert', model.expert.backbone)):
        original = encoder.encode_requests

        def spy(requests, name=name, original=original):
            told[name] += [(r.outputs, r.condition, len(r.images)) for r in requests]
            return original(requests)

        monkeypatch.setattr(encoder, 'encode_requests', spy)
    model.begin_step(progress())
    views = model.data_preprocessor(batch(6), training=True)['inputs']
    own = views.targets['semantic']
    assert set(own.tolist()) == {0.0, 1.0}
    model.loss(views)
    patches, token = Outputs(patch_tokens=True), Outputs(image_token=True)
    expert = {outputs: condition for outputs, condition, _ in told['expert']}
    assert expert.keys() == {patches, token}
    assert expert[patches].tolist() == [1.0] * 12
    assert torch.equal(expert[token], own.repeat(2))
    rows = [count // 6 for _, _, count in told['student']]
    assert sorted(rows) == [2, 2, 4]  # erased, whole, local crops
    for _, condition, count in told['student']:
        assert torch.equal(condition, own.repeat(count // 6))


def test_exactly_the_cells_of_one_part_are_erased(model):
    views, _, derived = step_of(model)
    seen = 0
    for column, name in enumerate(('anchor', 'augmented')):
        labels = derived.targets[f'{name}_labels']
        kept = derived.targets[f'{name}_kept']
        whole, erased = views[name].images, derived[f'{name}_erased'].images
        assert derived[f'{name}_erased'].condition is views[name].condition
        assert labels.shape == (6, 32)
        for i in range(6):
            part = 1 + int(views.targets['erased_part'][i, column] * 3)
            expected = whole[i].clone()
            for cell, label in enumerate(labels[i].tolist()):
                row, col = divmod(cell, GRID[1])
                if kept[i] and label == part:
                    expected[:, 16 * row : 16 * row + 16, 16 * col : 16 * col + 16] = 0
                    seen += 1
            assert torch.equal(erased[i], expected)
    assert seen > 0


def test_labels_are_background_and_parts_from_the_top(model):
    """Restated for one image with numpy's own sorting."""
    _, experts, derived = step_of(model)
    tokens = experts['parts'].views['anchor_semantic'].require_final().require_patch_tokens()
    for i, labels in enumerate(derived.targets['anchor_labels']):
        lengths = tokens[i].norm(dim=-1)
        background, foreground = lengths[labels == 0], lengths[labels > 0]
        assert background.max() < foreground.min()
        assert bool(derived.targets['anchor_kept'][i]) == (len(foreground) > 16)
        rows = torch.arange(32) // GRID[1]
        means = [rows[labels == part].float().mean() for part in range(1, 4)]
        means = [mean for mean in means if not mean.isnan()]
        assert means == sorted(means)


def loss_restated(objective, encoded, derived, kept, told) -> tuple[float, float, int]:
    """Every token of both kinds of both views, one by one: loss, accuracy and counted images."""
    neck = deepcopy(objective.neck).double()
    terms, right, count = 0.0, 0.0, 0
    for name, counted in kept.items():
        for view in (name, f'{name}_erased'):
            tokens = encoded[view].require_final().require_patch_tokens().detach().double()
            for i in counted.nonzero()[:, 0].tolist():
                features, classes = neck.mlp(tokens[i])[:, None], neck.prototypes
                scores = torch.cosine_similarity(features, classes, dim=-1).tolist()
                own = derived.targets[f'{name}_labels'][i].tolist()
                errors = [
                    math.log(sum(map(math.exp, row))) - row[label]
                    for row, label in zip(scores, own, strict=True)
                ]
                terms += float(told[i]) * sum(errors) / len(errors)
                found = [row.index(max(row)) for row in scores]
                right += sum(map(int.__eq__, found, own)) / len(own)
                count += 1
    return terms / max(count, 1), right / max(count, 1), count


@pytest.mark.parametrize(
    ('images', 'size', 'dims', 'parts'),
    [
        (6, (128, 64), 48, 3),
        (1, (128, 64), 48, 3),
        (2, (64, 64), 48, 2),
        (3, (96, 32), 16, 4),
        (5, (96, 80), 96, 5),
    ],
)
def test_the_loss_restated(images, size, dims, parts):
    arch = {**ARCH, 'embed_dims': dims, 'num_heads': 1}
    changes = {'backbone.arch': arch, 'objectives.parts.num_parts': parts}
    model = with_gains(build(**changes, **{'data_preprocessor.size': size}))
    _, experts, derived = step_of(model, batch(images))
    objective = model.objectives['parts']
    told = torch.linspace(1, 0.4, images)
    for name in objective.student_inputs():
        derived.by_name[name] = replace(derived[name], condition=told)
    kept = {name: derived.targets[f'{name}_kept'] for name in ('anchor', 'augmented')}
    kept['anchor'][0], kept['augmented'][0] = 1, 0  # a sharper test than all images alike
    encoded = encode_views(
        model.backbone, model.dense_norm, derived, objective.student_inputs()
    )
    tokens = encoded['anchor_erased'].require_final().require_patch_tokens()
    assert tokens.shape == (images, size[0] * size[1] // 256, dims)
    loss, accuracy, count = loss_restated(objective, encoded, derived, kept, told)
    found = objective.loss(Encoded(encoded), experts['parts'], derived)
    assert 0 < count < 4 * images
    assert loss > 0.1
    assert found['loss'].item() == pytest.approx(loss, rel=1e-5)
    assert float(found['accuracy']) == pytest.approx(accuracy)
    assert float(found['kept']) == pytest.approx(count / (4 * images))


def test_a_batch_without_foreground_is_finite_and_has_gradients():
    """At the beginning all tokens of a ViT are equally long."""
    model = build()
    terms = losses(model, batch(4))
    assert terms['parts_kept'].item() == terms['loss_parts'].item() == 0
    assert all(value.isfinite() for value in terms.values())
    total(terms).backward()
    parameters = dict(model.named_parameters())
    learnt = {name: p for name, p in parameters.items() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt.values())
    classifier = [p for name, p in learnt.items() if name.startswith('objectives.parts')]
    assert classifier
    assert not any(p.grad.any() for p in classifier)
    assert all(p.grad.any() for n, p in learnt.items() if n.startswith('backbone.controller'))


def textured(count: int) -> dict[str, torch.Tensor]:
    """Canvases with three kinds of texture one above the other, and plain gray below."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.full((count, 3, 320, 160), 124.0)
    for i, grain in enumerate((4, 10, 20)):
        noise = torch.rand(count, 3, 80 // grain, 160 // grain, generator=generator)
        canvas[:, :, 80 * i : 80 * (i + 1)] = 255 * nn.functional.interpolate(noise, (80, 160))
    whole = torch.tensor([[320, 160]] * count)
    return {**batch(count), 'canvas': canvas.to(torch.uint8), 'size': whole}


def build_for_parts(encoder: str, data):
    """A model with the objective of the parts alone, which sees an image in 8x4 tokens."""
    changes = {'objectives.csm': None, 'objectives.koleo': None}
    if encoder == 'vit':
        return with_gains(build(**changes))
    cfg = config(**changes, **{'data_preprocessor.size': (256, 128)})
    cfg.model.backbone = dict(type='saip.TimmEncoder', model=encoder, **cfg.encoder_options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train().begin_step(progress())
    images = model.data_preprocessor(data, training=True)['inputs']['anchor'].images
    norms = [each for each in model.backbone.modules() if isinstance(each, nn.BatchNorm2d)]
    with torch.no_grad():  # with statistics of 0 and 1 the borders would say all of the labels
        for norm in norms:
            norm.momentum = 1.0
        model.backbone.encode(images)
        for norm in norms:
            norm.momentum = 0.1
    model.expert.copy_from_student()
    return model


def is_mostly_long(tokens) -> bool:
    """Whether more than half of an image's tokens are in the longer of the best two clusters."""
    lengths = np.sort(np.linalg.norm(tokens.double().numpy(), axis=-1))
    count = len(lengths)
    errors = [lengths[:j].var() * j + lengths[j:].var() * (count - j) for j in range(1, count)]
    return count - (1 + int(np.argmin(errors))) > count / 2


@pytest.mark.parametrize('encoder', ['vit', 'starnet_s050'])
def test_images_with_a_foreground_teach_classifier_and_encoder(encoder):
    """By gradients alone: there is no other objective and no weight decay."""
    data = textured(6)
    model = build_for_parts(encoder, data)
    objective = model.objectives['parts']
    _, experts, derived = step_of(model, data)
    kept = {name: derived.targets[f'{name}_kept'] for name in ('anchor', 'augmented')}
    for name, found in kept.items():
        output = experts['parts'].views[f'{name}_semantic'].require_final()
        assert output.grid == GRID
        assert found.bool().tolist() == [*map(is_mostly_long, output.require_patch_tokens())]
    if encoder != 'vit':  # whose long tokens are not those of textures before it learns
        shares = (derived.targets['anchor_labels'] > 0).view(6, *GRID).float().mean((0, 2))
        assert shares[1:6].min() > 0.5 > 0.2 > shares[7]
    told = derived.targets['semantic']
    encoded = encode_views(
        model.backbone, model.dense_norm, derived, objective.student_inputs()
    )
    restated, _, count = loss_restated(objective, encoded, derived, kept, told)
    terms = losses(model, data)
    loss = terms['loss_parts']
    assert loss.item() == pytest.approx(restated, rel=1e-5)
    assert loss > 0.1
    assert float(terms['parts_kept']) == pytest.approx(count / 24)
    loss.backward()
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split('.')[0] for name in learnt} == {'backbone', 'objectives'}
    assert all(p.grad.isfinite().all() for p in learnt.values())
    assert [name for name, p in learnt.items() if not p.grad.any()] == []
    optimizer = torch.optim.SGD(learnt.values(), lr=0.1)
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        later = losses(model, data)['loss_parts']
        later.backward()
    assert later < loss - 0.01


@pytest.mark.parametrize('learns', [True, False])
def test_the_classifier_learns_or_stays_as_in_the_release(model, learns):
    if not learns:
        model.objectives['parts'].neck.requires_grad_(False)
        other = build(**{'objectives.parts.train_classifier': False})
        assert not any(p.requires_grad for p in other.objectives['parts'].parameters())
    total({'loss_parts': losses(model, batch(6))['loss_parts']}).backward()
    grads = [p.grad for p in model.objectives['parts'].neck.parameters()]
    assert all((grad is not None) is learns for grad in grads)
    assert model.backbone.layers[0].attn.qkv.weight.grad.any()


def test_the_expert_follows_the_controller(model):
    before = {k: p.clone() for k, p in model.expert.backbone.controller.named_parameters()}
    total(losses(model, batch(6))).backward()
    torch.optim.SGD(model.parameters(), 0.5).step()
    model.after_optimizer_step(torch.zeros((), dtype=torch.bool))
    after = dict(model.expert.backbone.controller.named_parameters())
    for name, source in model.backbone.controller.named_parameters():
        expected = before[name].lerp(source, 0.02)
        torch.testing.assert_close(after[name], expected)
        assert not torch.equal(after[name], before[name])


def test_a_restored_training_goes_on_alike(model):
    def advance(model, optimizer, steps):
        for step in steps:
            optimizer.zero_grad()
            terms = losses(model, batch(6, first=6 * step), step)
            total(terms).backward()
            optimizer.step()
            model.after_optimizer_step(torch.zeros((), dtype=torch.bool))
        return terms

    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    advance(model, optimizer, range(2))
    again = build()
    again.load_state_dict(model.state_dict(), strict=True)
    other = torch.optim.AdamW(again.parameters(), 1e-3)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    expected = advance(model, optimizer, range(2, 4))
    found = advance(again, other, range(2, 4))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    ours, theirs = again.state_dict(), model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_views_are_encoded_together_only_with_those_that_are_told_too(model):
    images = torch.randn(2, 3, 128, 64)
    views = Views(
        {
            'told': View(images, condition=torch.tensor([0.0, 1.0])),
            'other': View(images, condition=torch.tensor([1.0, 0.3])),
            'untold': View(images),
        }
    )
    seen = []
    original = model.backbone.encode_requests
    model.backbone.encode_requests = lambda each: (seen.extend(each), original(each))[1]
    inputs = dict.fromkeys(views.by_name, Outputs(image_token=True))
    found = encode_views(model.backbone, nn.Identity(), views, inputs)
    assert [r.condition is None for r in seen] == [False, True]
    assert torch.equal(seen[0].condition, torch.tensor([0.0, 1.0, 1.0, 0.3]))
    default = View(images, condition=torch.full((2,), 0.2))
    only = Views({'x': default})
    alone = encode_views(model.backbone, nn.Identity(), only, {'x': inputs['told']})
    torch.testing.assert_close(
        found['untold'].require_final().image_token, alone['x'].require_final().image_token
    )


def test_cells_of_a_coarser_map_cover_several_patches():
    images = torch.ones(1, 3, 8, 4)
    hidden = torch.tensor([[[True, False], [False, False]]])
    expected = torch.ones(1, 3, 8, 4)
    expected[..., :4, :2] = 0
    assert torch.equal(erase(images, hidden), expected)


def test_the_cost_of_a_step_counts_the_classifier():
    """Counted without values, so that clustering which looked at one would raise here."""
    cost = step_cost(config().model)
    assert cost.flops['parts'] > 0
    assert cost.flops['expert encoder'] > 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'expert': None}, r'SemanticParts reads .* expert, but model.expert is None'),
        ({'backbone.controller': None}, r'anchor, augmented, .* come with a condition, but'),
        ({'objectives.parts.views': ['anchor']}, r'clustered=.* one name for each of views='),
        ({'objectives.parts.num_parts': 1}, 'num_parts=1: at least 2'),
        (
            {'data_preprocessor.views.erased_part': None},
            r"'parts' reads the view.* erased_part",
        ),
        ({'data_preprocessor.views.anchor_semantic': None}, r'reads .* anchor_semantic'),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    if 'expert' in changes:
        changes = {**changes, 'objectives.csm': None, 'objectives.koleo': None}
    with pytest.raises(InputError, match=message):
        build(**changes)


def test_each_view_needs_a_number_of_its_own():
    model = build(**{'data_preprocessor.views.erased_part.number': 1})
    with pytest.raises(InputError, match=r'erased_part: saip.SemanticParts needs number=2'):
        losses(model, batch(2))


def test_a_training_can_begin_with_dino(tmp_path):
    """The second stage: controllers are new, all else is the file's, the expert's apart."""
    crops = {
        f'data_preprocessor.views.{name}.condition': None
        for name in ('anchor', 'augmented', 'local_crops')
    }
    dino = build(**{'backbone.controller': None, 'objectives.parts': None, **crops})
    with torch.no_grad():
        for parameter in dino.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        dino.objectives['csm'].head.center.fill_(0.5)
    path = tmp_path / 'dino.pth'
    write_checkpoint(path, dino.state_dict(), {'architecture': dino.backbone.architecture()})
    second = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/solider-from-dino.py')
    model = build(init_from={**second.model.init_from, 'checkpoint': str(path)})
    ours, theirs = model.state_dict(), dino.state_dict()
    for key, value in theirs.items():
        if not key.startswith('expert.steps'):
            assert torch.equal(ours[key], value), key
    new = {key for key in ours if key not in theirs}
    assert {key.split('.')[0] for key in new} == {'backbone', 'expert', 'objectives'}
    assert all('controller' in key or key.startswith('objectives.parts') for key in new)
    for key, value in model.backbone.controller.state_dict().items():
        assert torch.equal(ours[f'expert.backbone.controller.{key}'], value)
    cfg = {'model': dict(config().model, init_from=dict(second.model.init_from))}
    drop_pretrained(cfg)
    assert 'init_from' not in cfg['model']  # a resumed run has its weights already
