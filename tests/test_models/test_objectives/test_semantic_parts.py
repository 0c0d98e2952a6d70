"""SOLIDER: who is told what, what is erased, and the loss of the parts."""

import math
from copy import deepcopy

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from torch import nn

from saip.analysis.step_flops import step_cost
from saip.checkpoint import write_checkpoint
from saip.engine.launch import drop_pretrained
from saip.errors import InputError
from saip.models.heads import PartClassificationHead
from saip.models.heads import part_classification_head as head_module
from saip.models.objectives.semantic_parts import erase
from saip.models.selfsup.encoding import encode_views
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, View, Views
from tests.processes import in_processes
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


@pytest.fixture
def model():
    """Its expert's final norm has learnt gains, so that tokens differ in length."""
    model = build()
    with torch.no_grad():
        gains = torch.linspace(0.2, 3, ARCH['embed_dims'])
        for encoder in (model.backbone, model.expert.backbone):
            encoder.ln1.weight.copy_(gains)
    return model


def step_of(model, size: int = 6):
    """Views, the expert's features and all views of one step."""
    model.begin_step(progress())
    views = model.data_preprocessor(batch(size), training=True)['inputs']
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


def test_the_loss_restated(model):
    """Every token of both kinds of both views, one by one."""
    _, experts, derived = step_of(model)
    objective = model.objectives['parts']
    encoded = encode_views(
        model.backbone, model.dense_norm, derived, objective.student_inputs()
    )
    kept = {name: derived.targets[f'{name}_kept'] for name in ('anchor', 'augmented')}
    kept['augmented'][0] = 0  # a sharper test than all images kept
    terms, count, right = 0.0, 0, 0
    for name in kept:
        for view in (name, f'{name}_erased'):
            tokens = encoded[view].require_final().require_patch_tokens()
            for i in range(6):
                if not kept[name][i]:
                    continue
                scores = objective.neck(tokens[i]).detach().double()
                own = derived.targets[f'{name}_labels'][i]
                weight = float(derived.targets['semantic'][i])
                terms -= weight * float(scores.log_softmax(-1)[torch.arange(32), own].mean())
                right += float((scores.argmax(-1) == own).double().mean())
                count += 1
    assert 0 < count < 24
    found = objective.loss(Encoded(encoded), experts['parts'], derived)
    assert found['loss'].item() == pytest.approx(terms / count, rel=1e-5)
    assert float(found['accuracy']) == pytest.approx(right / count)
    assert float(found['kept']) == pytest.approx(count / 24)


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


def weighted(rank_of: int = 0, world: int = 1) -> tuple[float, float, float]:
    """Loss and gradient of a share of eight images, of which the first three are kept."""
    generator = torch.Generator().manual_seed(4)
    scores = torch.randn(8, 5, 4, generator=generator)[rank_of::world].requires_grad_()
    labels = torch.randint(0, 4, (8, 5), generator=generator)[rank_of::world]
    kept = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0])[rank_of::world]
    weight = torch.tensor([1.0, 0.5, 0.2, 1, 1, 1, 1, 1])[rank_of::world]
    out = PartClassificationHead().loss(scores, labels, kept, weight)
    out['loss'].backward()
    return float(out['loss']), float(scores.grad.abs().sum()), float(out['accuracy'])


def in_a_group() -> tuple[float, float, float]:
    dist.init_process_group('gloo')
    result = weighted(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()
    return result


def test_kept_images_are_counted_over_all_processes(monkeypatch):
    """Emulated: each of two shares learns what the mean of both counts is."""
    loss, gradient, accuracy = weighted()
    assert loss > 0
    counts: list[torch.Tensor] = []
    monkeypatch.setattr(head_module.dist, 'all_reduce', lambda x, op: counts.append(x.clone()))
    for rank in range(2):
        weighted(rank, 2)
    mean = torch.stack(counts).mean(0)
    assert mean[0] == 1.5
    monkeypatch.setattr(head_module.dist, 'all_reduce', lambda x, op: x.copy_(mean))
    both = [weighted(rank, 2) for rank in range(2)]
    assert sum(each[0] for each in both) / 2 == pytest.approx(loss, rel=1e-6)
    assert sum(each[1] for each in both) / 2 == pytest.approx(gradient, rel=1e-6)
    assert [each[2] for each in both] == pytest.approx([accuracy] * 2)


@pytest.mark.slow
@pytest.mark.dist
def test_processes_with_different_numbers_of_kept_images_give_the_loss_of_one(tmp_path):
    loss, gradient, accuracy = weighted()
    assert loss > 0
    both = in_processes(2, tmp_path, in_a_group)
    assert sum(each[0] for each in both) / 2 == pytest.approx(loss, rel=1e-6)
    assert sum(each[1] for each in both) / 2 == pytest.approx(gradient, rel=1e-6)
    assert [each[2] for each in both] == pytest.approx([accuracy] * 2)


def test_cosines_that_are_all_equal_cost_the_log_of_the_classes():
    out = PartClassificationHead().loss(
        torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), torch.ones(2), torch.ones(2)
    )
    assert float(out['loss']) == pytest.approx(math.log(4))


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
