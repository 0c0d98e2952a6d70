"""The frozen expert (SAIP*): what it gives, and that nothing moves, stores or forgets it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from saip.checkpoint import CheckpointError, encoder_of, load_checkpoint_file
from saip.engine import launch
from saip.engine.hooks.export import ExportBackboneHook
from saip.engine.optim import NoBiasDecayConstructor
from saip.evaluation.two_view import TwoViewRecall
from saip.experiments.encoder_results import read_result
from saip.models.backbones import ViTEncoder
from saip.models.heads import FeatureDistillationHead
from saip.registry import MODELS
from saip.synthetic.market import SIZES, write_market1501
from tests.tiny import ROOT, batch, losses, preset_config, progress, total

STARS = ('saip-star', 'saip-paper-star')
EXPERT = dict(embed_dims=32, num_layers=3, num_heads=4, feedforward_channels=64)


@pytest.fixture(scope='module')
def expert_file(tmp_path_factory) -> str:
    """A wider grid, another width and another depth than the student's."""
    torch.manual_seed(7)
    encoder = ViTEncoder(arch=EXPERT, img_size=(224, 224), feature_level=1)
    encoder.init_weights()
    path = tmp_path_factory.mktemp('expert') / 'expert.pth'
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {'architecture': encoder.architecture()}}, path)
    return str(path)


def star_config(preset: str, checkpoint: str | None):
    cfg = preset_config(preset)
    expert = cfg.model.expert
    expert.encoder.arch, expert.checkpoint = EXPERT, checkpoint
    if expert.encoder.feature_level is not None:
        expert.encoder.feature_level = 1
    del cfg.model.objectives.csm.neck['out_channels']
    return cfg


def build_star(preset: str, checkpoint: str, **objectives):
    cfg = star_config(preset, checkpoint)
    cfg.model.objectives.update(objectives)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


@pytest.mark.parametrize('preset', STARS)
def test_two_steps_train_everything_but_the_expert(preset, expert_file):
    model = build_star(preset, expert_file)
    stored = load_checkpoint_file(expert_file)['state_dict']
    optimizer = NoBiasDecayConstructor({'optimizer': {'type': 'AdamW', 'lr': 1e-3}})(
        model
    ).optimizer
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(2):
        optimizer.zero_grad()
        total(losses(model, batch(), step)).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
        optimizer.step()
        model.after_optimizer_step(torch.tensor(False))
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    encoder = model.expert.encoder()
    assert not encoder.training
    ours = {id(p) for p in encoder.parameters()}
    assert not ours & {id(p) for group in optimizer.param_groups for p in group['params']}
    assert not any(name.startswith('expert.') for name in model.state_dict())
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, stored[f'backbone.{key}']), key


@pytest.mark.parametrize('objective', ['csm', 'csr', 'css'])
@pytest.mark.parametrize('preset', STARS)
def test_each_objective_trains_alone(preset, objective, expert_file):
    others = {name: None for name in ('csm', 'csr', 'css') if name != objective}
    model = build_star(preset, expert_file, **others)
    total(losses(model, batch(2))).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('preset', STARS)
def test_matching_pairs_different_views(preset, expert_file):
    """Against a loop over the pairs, each view encoded by itself."""
    model = build_star(preset, expert_file, csr=None, css=None).eval()  # no stochastic depth
    model.begin_step(progress())
    views = model.data_preprocessor(batch(), training=True)['inputs']
    found = model(views, mode='loss')['loss_csm']
    targets = ('anchor', 'augmented') if preset == 'saip-star' else ('multires_0', 'multires_1')
    predictors = {
        name: parts
        for name, view in views.by_name.items()
        for parts in [view.images.chunk(6 if name == 'local_crops' else 1)]
        if preset == 'saip-star' or name == 'anchor'
    }
    pairs = []
    for target in targets:
        goal = model.expert.encoder().encode(views[target].images).image_token
        goal = (goal - goal.mean(-1, keepdim=True)) / goal.std(-1, correction=0, keepdim=True)
        for name, parts in predictors.items():
            for images in parts if name != target else []:
                error = model.objectives['csm'].neck(model.backbone.encode(images).image_token)
                error = (error - goal).abs()
                pairs.append(torch.where(error < 1, error**2 / 2, error - 0.5).mean())
    assert len(pairs) == (18 if preset == 'saip-star' else 2)
    torch.testing.assert_close(found, torch.stack(pairs).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('measure', 'expected'), [('smooth_l1', 1.625), ('cosine', 0.75)])
def test_losses_computed_by_hand(measure, expected):
    # Standardized, the targets are (-1, 1) and (1, -1). Pairs: view 0 with target 1, view 1 with
    # target 0, view 2 with both. Errors (1, 3), (0, 0), (4, -4), (2, -2); cosines 0, 1, -1, 1.
    targets = torch.tensor([[1.0, 3.0], [500.0, 100.0]])
    predictions = torch.tensor([[2.0, 2.0], [-1.0, 1.0], [3.0, -3.0]])
    loss = FeatureDistillationHead(measure).loss(predictions, targets, {0: 0, 1: 1}, 3)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_the_scene_and_the_masked_view_have_the_experts_width(expert_file):
    star, paper = (build_star(preset, expert_file).objectives for preset in STARS)
    assert star['css'].neck.key_embed.in_features == 32
    assert star['css'].neck.query_embed.in_features == 48
    assert star['csr'].neck.embed_masked is None
    assert paper['csr'].neck.embed_masked.in_features == 32
    assert paper['csr'].neck.embed.in_features == 48


def test_pixel_features_are_normed_once(expert_file):
    """Before the last block by a norm without parameters; after it by the encoder's own."""
    middle, end = (build_star(preset, expert_file).expert for preset in STARS)
    x = torch.randn(5, 32) * 9 + 3
    torch.testing.assert_close(middle.dense_norm(x), F.layer_norm(x, (32,), eps=1e-6))
    assert end.dense_norm(x) is x
    assert not list(middle.parameters())


def test_a_model_that_is_not_initialized_reads_the_expert_at_first_use(expert_file):
    trained = build_star('saip-star', expert_file).eval()
    model = MODELS.build(star_config('saip-star', expert_file).model).eval()
    model.load_state_dict(trained.state_dict(), strict=True)
    data = model.data_preprocessor(batch(3), training=False)
    found, expected = model(**data, mode='predict'), trained(**data, mode='predict')
    for mine, his in zip(found, expected, strict=True):
        assert (mine['student'].shape, mine['expert'].shape) == ((2, 48), (2, 32))
        torch.testing.assert_close(mine['expert'], his['expert'])
        torch.testing.assert_close(mine['student'], his['student'])
    metric = TwoViewRecall(collect_device='cpu')
    metric.process({}, found)
    metrics = metric.evaluate(3)
    assert {'two_view/student_recall@1', 'two_view/expert_recall@1'} <= set(metrics)


def test_the_expert_goes_where_the_model_goes(expert_file):
    model = build_star('saip-star', expert_file).double()
    assert {p.dtype for p in model.expert.encoder().parameters()} == {torch.float64}
    model = MODELS.build(star_config('saip-star', expert_file).model).double()
    assert model.expert.encoder().pos_embed.dtype == torch.float64


def test_a_run_without_the_experts_weights_does_not_start(tmp_path, expert_file):
    with pytest.raises(ValueError, match=r'model.expert.checkpoint is None.*path_to_saip'):
        MODELS.build(star_config('saip-star', None).model)
    with pytest.raises(FileNotFoundError, match=r'gone.pth.*SAIP_EXPERT'):
        build_star('saip-star', str(tmp_path / 'gone.pth'))
    cfg = star_config('saip-star', expert_file)
    cfg.model.expert.encoder.arch = {**EXPERT, 'num_heads': 2}
    model = MODELS.build(cfg.model)
    with pytest.raises(ValueError, match='num_heads is 4 in the file and 2 in the model'):
        model.init_weights()
    cfg.model.expert.encoder.update(patch_size=14, img_size=(224, 224))
    with pytest.raises(ValueError, match='patches of 14 pixels'):
        MODELS.build(cfg.model)


def test_what_needs_an_average_is_refused_with_the_reason(expert_file):
    frozen = star_config('saip-star', expert_file).model.expert
    for preset in ('saip', 'saip-paper', 'saip-official'):
        cfg = preset_config(preset)
        cfg.model.expert = frozen
        with pytest.raises(ValueError, match='FeatureDistillation'):
            MODELS.build(cfg.model)
    cfg.model.objectives.csm = None
    with pytest.raises(ValueError, match='head by head'):
        MODELS.build(cfg.model)
    cfg = star_config('saip-star', expert_file)
    cfg.model.objectives.csm.target = 'student_anchor'
    with pytest.raises(ValueError, match='expert_globals, expert_multires'):
        MODELS.build(cfg.model)


CONFIGS = ROOT / 'configs'


@pytest.mark.slow
def test_a_run_resumes_and_tests_with_the_expert_from_its_file(
    tmp_path, expert_file, monkeypatch
):
    people = tmp_path / 'people'
    write_market1501(people, SIZES['tiny'])
    config = tmp_path / 'star.py'
    config.write_text(
        f"""_base_ = [
    '{CONFIGS}/pretrain/_base_/methods/saip-star.py',
    '{CONFIGS}/pretrain/_base_/data/people.py',
    '{CONFIGS}/pretrain/_base_/schedules/adamw-coslr-short.py',
    '{CONFIGS}/_base_/default_runtime.py',
]
arch = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96)
decoder = dict(neck=dict(dims=32, depth=1, num_heads=4))
model = dict(
    backbone=dict(type='saip.ViTEncoder', arch=arch, feature_level=2),
    data_preprocessor=dict(
        size=(128, 64),
        views=dict(local_crops=dict(size=(64, 32)), scene=dict(size=(128, 128)))),
    expert=dict(encoder=dict(arch={EXPERT}, feature_level=1)),
    objectives=dict(
        csm=dict(neck=dict(hidden_channels=32, bottleneck_channels=16)),
        csr=decoder,
        css=dict(neck=dict(dims=32, num_heads=4))))
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(canvas=(160, 80)))
val_dataloader = dict(dataset=dict(size=(128, 64)), num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=-1))
train_cfg = dict(val_interval=2)
custom_hooks = []
cosine = dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [cosine]
"""
    )
    settings = dict(SAIP_PEOPLE=people, SAIP_EPOCHS=2, SAIP_EXPERT=expert_file)
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    launch.train(str(config), work_dir=str(whole))
    checkpoint = load_checkpoint_file(whole / 'epoch_2.pth')
    assert not any('expert' in key for key in checkpoint['state_dict'])
    resumed.mkdir()
    shutil.copy(whole / 'epoch_1.pth', resumed)
    launch.train(str(config), work_dir=str(resumed), resume='auto', validate=False)
    again = load_checkpoint_file(resumed / 'epoch_2.pth')['state_dict']
    assert again.keys() == checkpoint['state_dict'].keys()
    for key, value in checkpoint['state_dict'].items():
        torch.testing.assert_close(again[key], value, rtol=1e-4, atol=1e-6)
    tested = launch.evaluate(str(config), str(whole / 'epoch_2.pth'), work_dir=str(whole))
    file = sorted(whole.glob('*/vis_data/scalars.json'))[0]
    validated = json.loads(file.read_text().splitlines()[-1])
    for branch in ('student', 'expert'):
        name = f'retrieval/{branch}_mAP'
        assert tested[name] == pytest.approx(validated[name])
        result = read_result(whole, name, CONFIGS / '_base_/backbones', (128, 64))
        assert result.value == pytest.approx(tested[name])
        assert Path(result.source).parent.parent == whole  # the test's, not the validation's
    encoder_of(checkpoint, 'student')
    with pytest.raises(CheckpointError, match=r'frozen.*nothing to export.*expert\.pth'):
        encoder_of(checkpoint, 'expert')


def test_exports_of_a_frozen_expert_are_refused_before_training(expert_file):
    class Runner:
        model = build_star('saip-star', expert_file)

    with pytest.raises(ValueError, match='frozen'):
        ExportBackboneHook(which='expert').before_train(Runner())
    Runner.model.expert = None
    with pytest.raises(ValueError, match=r'model\.expert is None'):
        ExportBackboneHook(which='expert').before_train(Runner())
    ExportBackboneHook(which='student').before_train(Runner())
