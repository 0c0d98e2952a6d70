"""The experimental readings of Eq. 1 with a frozen expert: prototypes and relations."""

import pytest
import torch
from mmengine.config import Config

from saip.errors import InputError
from saip.models.backbones import ViTEncoder
from saip.models.necks import RandomProjection
from saip.models.ops import skipping
from saip.registry import MODELS
from tests.test_recordings import runs
from tests.test_recordings.cases import Case
from tests.tiny import ARCH, ROOT, batch, losses, progress, total

EXPERT = dict(embed_dims=64, num_layers=3, num_heads=4, feedforward_channels=64)
RESNET = dict(type='saip.TimmEncoder', model='test_resnet')
WITHOUT = dict(csr=None, css=None)


@pytest.fixture(scope='module')
def expert_file(tmp_path_factory) -> str:
    torch.manual_seed(7)
    encoder = ViTEncoder(arch=EXPERT, img_size=(224, 224), feature_level=1)
    encoder.init_weights()
    path = tmp_path_factory.mktemp('expert') / 'expert.pth'
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {'architecture': encoder.architecture()}}, path)
    return str(path)


def star_config(option: str, checkpoint: str) -> Config:
    cfg = Config.fromfile(ROOT / f'configs/pretrain/_base_/methods/saip-star-{option}.py')
    cfg.model.backbone = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2)
    cfg.model.expert.checkpoint = checkpoint
    cfg.model.expert.encoder.update(arch=EXPERT, feature_level=1)
    csm, csr, css = (cfg.model.objectives[name] for name in ('csm', 'csr', 'css'))
    if option == 'prototypes':
        csm.neck.update(hidden_channels=32, bottleneck_channels=16, out_channels=64)
    csr.neck.update(dims=32, depth=2, num_heads=4)
    css.neck.update(dims=32, num_heads=4)
    return cfg


def build(option: str, checkpoint: str, **objectives):
    cfg = star_config(option, checkpoint)
    cfg.model.objectives.update(objectives)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def step(model, optimizer, number: int) -> None:
    optimizer.zero_grad()
    total(losses(model, batch(2), number)).backward()
    model.before_optimizer_step()
    optimizer.step()
    model.after_optimizer_step(torch.tensor(False))


@pytest.mark.parametrize('option', ['prototypes', 'relations'])
def test_everything_but_the_frozen_encoder_is_trained(option, expert_file):
    model = build(option, expert_file)
    total(losses(model, batch(2))).backward()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not any(name.startswith('expert.') or 'adapter' in name for name in trained)
    assert all(p.grad is None for p in model.expert.encoder().parameters())
    kept = {name for name in model.state_dict() if name.startswith('expert.')}
    assert all(name.startswith('expert.averages.') for name in kept)
    assert bool(kept) == (option == 'prototypes')


def test_prototypes_are_matched_by_the_formula(expert_file):
    """Cross-entropy, pair by pair, of targets that are computed step by step."""
    model = build('prototypes', expert_file, **WITHOUT)
    model.begin_step(progress())
    views = model.data_preprocessor(batch(3), training=True)['inputs']
    found = model(views, mode='loss')['loss_csm']
    csm, expert = model.objectives['csm'], model.expert.encoder()
    probabilities = {}
    for name in ('anchor', 'augmented'):
        token = expert.encode(views[name].images).image_token.double()
        token = (token - token.mean(-1, keepdim=True)) / token.std(
            -1, correction=0, keepdim=True
        )
        adapted = token @ csm.adapter.directions.double().T
        probabilities[name] = (csm.neck.double()(adapted) / 0.04).softmax(-1)
    terms = []
    for name, view in views.by_name.items():
        for images in view.images.chunk(6 if name == 'local_crops' else 1):
            scores = csm.neck(model.backbone.encode(images).image_token.double()) / 0.1
            for target, wanted in probabilities.items():
                if target != name:
                    terms.append(-(wanted * scores.log_softmax(-1)).sum(-1).mean())
    assert len(terms) == 18
    torch.testing.assert_close(found.double(), torch.stack(terms).mean(), rtol=1e-4, atol=0)


def test_only_the_projector_is_averaged_and_by_the_closed_form(expert_file):
    model = build('prototypes', expert_file, **WITHOUT)
    model.expert.averages.momentum = lambda progress: 0.75
    neck = model.objectives['csm'].neck
    average = model.expert.modules_by_name()['csm_projector']
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    encoder = {k: v.clone() for k, v in model.expert.encoder().state_dict().items()}
    directions = model.objectives['csm'].adapter.directions.clone()
    history = [neck.mlp[0].weight.detach().clone()]
    assert torch.equal(average.mlp[0].weight, history[0])
    for number in range(3):
        step(model, optimizer, number)
        history.append(neck.mlp[0].weight.detach().clone())
    a, b, c, d = history
    expected = 0.75**3 * a + 0.25 * (0.75**2 * b + 0.75 * c + d)
    torch.testing.assert_close(average.mlp[0].weight, expected)
    assert not torch.equal(a, b)
    assert torch.equal(model.objectives['csm'].adapter.directions, directions)
    for key, value in model.expert.encoder().state_dict().items():
        assert torch.equal(value, encoder[key]), key


@pytest.mark.parametrize('readable', [True, False], ids=['host', 'device'])
def test_a_skipped_step_moves_no_average(readable, expert_file, monkeypatch):
    monkeypatch.setattr(skipping, 'readable', lambda flag: readable)
    model = build('prototypes', expert_file, **WITHOUT)
    averages = model.expert.averages
    before = {name: value.clone() for name, value in averages.state_dict().items()}
    with torch.no_grad():
        model.objectives['csm'].neck.prototypes.add_(1)
    model.begin_step(progress())
    model.after_optimizer_step(torch.tensor(True))
    assert all(torch.equal(before[name], x) for name, x in averages.state_dict().items())
    model.after_optimizer_step(torch.tensor(False))
    assert not torch.equal(
        before['csm_projector.prototypes'], averages.csm_projector.prototypes
    )
    assert averages.steps == 1


def test_a_resumed_run_goes_on_with_averages_and_directions(expert_file):
    model = build('prototypes', expert_file, **WITHOUT)
    step(model, torch.optim.SGD(model.parameters(), lr=0.1), 0)
    again = MODELS.build(
        {
            **star_config('prototypes', expert_file).model,
            'objectives': {'csm': star_config('prototypes', expert_file).model.objectives.csm},
        }
    ).train()
    again.load_state_dict(model.state_dict(), strict=True)
    one, two = (losses(m, batch(2), 1)['loss_csm'] for m in (model, again))
    assert torch.equal(one, two)


@pytest.mark.parametrize(('wide', 'narrow'), [(768, 192), (64, 48), (8, 20)])
def test_a_random_projection_keeps_lengths_along_its_directions(wide, narrow):
    torch.manual_seed(0)
    projection = RandomProjection(wide, narrow)
    values = torch.linalg.svdvals(projection.directions)
    torch.testing.assert_close(values, torch.ones(min(wide, narrow)))
    assert not list(projection.parameters())
    tokens = torch.randn(4, wide) * 3 + 7
    torch.testing.assert_close(
        projection(tokens), projection(tokens * 2 - 1), rtol=1e-4, atol=1e-4
    )


def relation_maps(encoder, images):
    """Mean over heads of the last block's relations, from the stock forward pass."""
    seen = []
    hook = encoder.layers[-1].ln1.register_forward_hook(lambda m, i, out: seen.append(out))
    encoder(images)
    hook.remove()
    attn = encoder.layers[-1].attn
    b, t, d = seen[0].shape
    qkv = attn.qkv(seen[0]).reshape(b, t, 3, attn.num_heads, d // attn.num_heads)
    maps = []
    for one, other in ((0, 1), (2, 2)):
        scores = torch.einsum('bqhd,bkhd->bhqk', qkv[:, :, one], qkv[:, :, other])
        maps.append((scores / (d // attn.num_heads) ** 0.5).softmax(-1).mean(1))
    return maps


def test_relations_are_compared_as_a_mean_over_heads(expert_file):
    model = build('relations', expert_file).eval()
    model.begin_step(progress())
    views = model.train().data_preprocessor(batch(3), training=True)['inputs']
    found = model(views, mode='loss')['loss_csm']
    terms = []
    for name in ('anchor', 'augmented'):
        ours = relation_maps(model.backbone, views[name].images)
        # The stock forward pass interpolates positions on the grid, as encode() does.
        theirs = relation_maps(model.expert.encoder(), views[name].images)
        for mine, goal in zip(ours, theirs, strict=True):
            terms.append((goal * (goal / mine).log()).sum(-1).mean())
    torch.testing.assert_close(found, sum(terms) / 2, rtol=1e-3, atol=1e-6)


def expect_refusal(cfg: Config, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MODELS.build(cfg.model)


def test_what_cannot_work_is_refused_with_the_reason(expert_file):
    cfg = star_config('relations', expert_file)
    cfg.model.objectives.csm.merge_heads = False
    expect_refusal(cfg, 'head by head.*merge_heads=True')
    cfg = star_config('relations', expert_file)
    cfg.model.backbone = RESNET
    expect_refusal(cfg, 'needs a ViT; TimmEncoder')
    cfg = star_config('relations', expert_file)
    cfg.model.expert.encoder = dict(**RESNET, img_size=(256, 128))
    expect_refusal(cfg, r'model\.expert\.encoder.*no attention')
    cfg = star_config('relations', expert_file)
    cfg.model.expert.encoder.update(patch_size=14)
    expect_refusal(cfg, 'patches of 14 pixels')
    cfg = star_config('prototypes', expert_file)
    cfg.model.objectives.csm.target = 'student_anchor'
    expect_refusal(cfg, 'learns from no target')
    cfg = star_config('prototypes', expert_file)
    cfg.model.expert.momentum = None
    expect_refusal(cfg, r'model\.expert\.momentum is None')
    cfg = star_config('prototypes', expert_file)
    cfg.model.expert = dict(type='saip.EMAExpert')
    expect_refusal(cfg, 'only a frozen expert needs one')


def test_prototypes_work_with_a_convolutional_student(expert_file):
    cfg = star_config('prototypes', expert_file)
    cfg.model.backbone = RESNET
    model = MODELS.build(cfg.model)
    model.init_weights()
    terms = losses(model.train(), batch(2))
    assert all(value.isfinite() for value in terms.values())


@pytest.mark.slow
@pytest.mark.usefixtures('fresh_mmengine')
@pytest.mark.parametrize('option', ['prototypes', 'relations'])
def test_a_run_goes_on_bit_by_bit(option, tmp_path):
    """Weights, averages, center and directions, after the second of four epochs."""
    case = Case(f'saip-star-{option}')
    kept = {
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
    }
    whole = runs.run(case, tmp_path, **kept)
    checkpoint = str(tmp_path / 'work/epoch_2.pth')
    again = runs.run(case, tmp_path / 'again', resume=True, load_from=checkpoint)
    assert len(again['losses']) == len(whole['losses']) // 2
    assert again['losses'] == whole['losses'][len(again['losses']) :]
    for part in ('student', 'state', 'expert', 'objectives'):
        assert again[part] == whole[part], part


@pytest.mark.slow
@pytest.mark.usefixtures('fresh_mmengine')
@pytest.mark.parametrize('option', ['prototypes', 'relations'])
def test_two_processes_agree(option, tmp_path):
    found = runs.run(Case(f'saip-star-{option}', processes=2), tmp_path, steps=2)
    assert len(found['losses']) == 2
    assert all(torch.tensor(list(row.values())).isfinite().all() for row in found['losses'])
