"""Every leaf of the comparison trains, moves its teacher as it should, and resumes."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from saip.checkpoint import load_checkpoint_file
from saip.engine.launch import drop_pretrained
from tests.processes import in_processes
from tests.test_comparisons.method_runs import (
    CONFIGS,
    PER_EPOCH,
    read,
    train,
    train_as_one_of_two,
)
from tests.tiny import ARCH

FOLDERS = ('dino', 'hap', 'mae', 'mae-dino', 'solider')
LEAVES = sorted(
    str(path.relative_to(CONFIGS)) for name in FOLDERS for path in (CONFIGS / name).glob('*.py')
)
ORIG = '8xb128-amp-coslr-300e-orig-recipe_lup1m.py'
ORIG_OF_SOLIDER = '8xb48-amp-coslr-100e-orig-recipe_lup1m.py'
OWN_RECIPES = [
    f'dino/dino_vit-tiny-p16_{ORIG}',
    'mae/mae_vit-tiny-p16_8xb512-amp-coslr-800e-orig-recipe_lup1m.py',
    f'mae-dino/mae-dino_vit-tiny-p16_{ORIG}',
    'hap/hap_vit-tiny-p16_8xb512-amp-coslr-400e-orig-recipe_lup1m.py',
    f'solider/solider_vit-tiny-p16_{ORIG_OF_SOLIDER}',
]
SECOND_STAGE = 'solider/solider-from-dino_{}_8xb48-amp-coslr-10e-orig-recipe_lup1m.py'
SMALL_STARNET = {'model.backbone.model': 'starnet_s050'}
STARNET = f'solider/solider_starnet-s3_{ORIG_OF_SOLIDER}'
RESUMED = [
    *(pytest.param(leaf, {}, id=leaf) for leaf in OWN_RECIPES),
    # BatchNorm, whose statistics are resumed as well.
    pytest.param(STARNET, SMALL_STARNET, id='solider/starnet-s050'),
    *(
        pytest.param(leaf, {}, id=leaf, marks=pytest.mark.slow)
        for leaf in (STARNET, f'dino/dino_starnet-s3_{ORIG}', f'dino/dino_tinyvit-5m_{ORIG}')
    ),
]
FIXED = 'backbone.pos_embed'

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


@pytest.fixture(autouse=True)
def _unformatted(monkeypatch):
    """A Runner formats its configuration five times, which takes longer than the training."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, False))


def leaf_parameters():
    for leaf in LEAVES:
        heavy = ('starnet' in leaf or 'tinyvit' in leaf) and 'saip-recipe' in leaf
        yield pytest.param(leaf, marks=[pytest.mark.slow] if heavy else [])


@pytest.mark.parametrize('leaf', leaf_parameters())
def test_two_steps_move_every_weight_that_learns(leaf, tmp_path):
    """Prototypes alone stand still in DINO's first epoch; positions of MAE always."""
    cfg = read(leaf)
    # A warm-up begins with steps that are lost beside a weight of 1.
    runner, seen = train(cfg, tmp_path, param_scheduler=cfg.param_scheduler[1:])
    model = runner.model
    assert len(seen.losses) == PER_EPOCH
    assert all(math.isfinite(value) for row in seen.losses for value in row.values())
    first, last = seen.rows[0], seen.rows[-1]
    still = {
        name
        for name, p in model.named_parameters()
        if not name.startswith('expert.') and torch.equal(first[name], last[name])
    }
    csm = dict(model.objectives.items()).get('csm')
    expected = {'objectives.csm.neck.prototypes'} if csm and csm.frozen_epochs else set()
    if leaf.startswith(('hap', 'mae')):
        expected.add(FIXED)
        assert not model.backbone.pos_embed.requires_grad
    if 'parts' in cfg.model.objectives:  # noise has no foreground, so nothing is asked of parts
        expected |= {f'objectives.parts.neck.mlp.{i}.bias' for i in (0, 2, 4)}
    assert still == expected
    assert (model.expert is None) is leaf.startswith(('hap/', 'mae/'))


def test_the_teacher_is_the_average_of_the_students(tmp_path):
    """Equal at the start, moved after the first step, its closed form after four."""
    cfg = read(OWN_RECIPES[0])
    cfg.optim_wrapper.optimizer.lr = 0.05  # of which 0.4 % is far above float32's rounding
    runner, seen = train(cfg, tmp_path, epochs=2, param_scheduler=[])
    steps = 2 * PER_EPOCH
    twins = [name for name, _ in runner.model.named_parameters() if name.startswith('expert.')]
    assert twins
    moved = 0
    for name in twins:
        student = name.removeprefix('expert.').replace('csm_projector', 'objectives.csm.neck')
        assert torch.equal(seen.rows[0][name], seen.rows[0][student])
        moved += not torch.equal(seen.rows[1][name], seen.rows[0][name])
        weights = [0.004 * 0.5 * (1 + math.cos(math.pi * t / steps)) for t in range(steps)]
        expected = seen.rows[0][student].double() * math.prod(1 - w for w in weights)
        for t, weight in enumerate(weights):
            later = math.prod(1 - w for w in weights[t + 1 :])
            expected += seen.rows[t + 1][student].double() * weight * later
        torch.testing.assert_close(seen.rows[-1][name].double(), expected, rtol=0, atol=5e-7)
    assert moved == len(twins) - 1  # prototypes of the first epoch


def assert_equal_ends(folder: Path, names: tuple[str, str] = ('whole', 'again')) -> None:
    """Weights, buffers and second moments after the second epoch, bit by bit."""
    expected, found = (load_checkpoint_file(folder / name / 'epoch_2.pth') for name in names)
    assert found['state_dict'].keys() == expected['state_dict'].keys()
    for name, value in expected['state_dict'].items():
        assert torch.equal(found['state_dict'][name], value), name
    states = (x['optimizer']['state'] for x in (expected, found))
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert torch.equal(one['exp_avg_sq'], other['exp_avg_sq'])


def resume(cfg, folder: Path):
    """Go on in ``again`` from the first epoch of ``whole``; the Runner."""
    (folder / 'again').mkdir()
    shutil.copy(folder / 'whole/epoch_1.pth', folder / 'again')
    load_from = str(folder / 'again/epoch_1.pth')
    runner, _ = train(cfg, folder / 'again', epochs=2, resume=True, load_from=load_from)
    return runner


@pytest.mark.parametrize(('leaf', 'options'), RESUMED)
def test_a_resumed_run_ends_with_the_very_same_weights(leaf, options, tmp_path):
    whole, _ = train(read(leaf, **options), tmp_path / 'whole', epochs=2)
    again = resume(read(leaf, **options), tmp_path)
    assert again.iter == whole.iter == 2 * PER_EPOCH
    assert_equal_ends(tmp_path)


@pytest.mark.parametrize(
    'encoder', ['vit-tiny-p16', pytest.param('starnet-s3', marks=pytest.mark.slow)]
)
def test_the_second_stage_of_solider_resumes_without_the_file_of_the_first(encoder, tmp_path):
    """DINO first, then the controllers and the parts, with the weights of DINO's run."""
    train(read(f'dino/dino_{encoder}_{ORIG}'), tmp_path / 'dino')
    path = tmp_path / 'dino.pth'
    dino = load_checkpoint_file(tmp_path / 'dino/epoch_1.pth')
    if encoder.startswith('vit'):  # with tokens of different lengths, so of some foreground
        gains = torch.linspace(0.2, 3, ARCH['embed_dims'])
        for name in ('backbone.ln1.weight', 'expert.backbone.ln1.weight'):
            dino['state_dict'][name].copy_(gains)
    torch.save(dino, path)
    leaf = SECOND_STAGE.format(encoder)

    def second_stage():
        cfg = read(leaf)
        wanted = Config.fromfile(CONFIGS / leaf).model.init_from
        cfg.model.init_from = {**wanted, 'checkpoint': str(path)}
        return cfg

    _, seen = train(second_stage(), tmp_path / 'whole', epochs=2)
    begun = seen.rows[0]
    for name, value in dino['state_dict'].items():
        if name != 'expert.steps':
            assert torch.equal(begun[name], value), name
    if encoder.startswith('vit'):  # two cells of a StarNet never make a foreground
        assert any(row['loss_parts'] > 0 for row in seen.losses)
        for i in (0, 2, 4):  # of which no weight decay moves any
            name = f'objectives.parts.neck.mlp.{i}.bias'
            assert not torch.equal(begun[name], seen.rows[-1][name])
    path.unlink()
    cfg = second_stage()
    drop_pretrained(cfg.model)
    again = resume(cfg, tmp_path)
    assert again.iter == 2 * PER_EPOCH
    assert_equal_ends(tmp_path)


def test_weight_decay_rises_for_matrices_alone(tmp_path):
    """Over 300 epochs of 2 steps from 0.04 to 0.4; what is not decayed never is."""
    cfg = read(OWN_RECIPES[0])
    runner, _ = train(cfg, tmp_path)
    matrices, vectors = runner.optim_wrapper.optimizer.param_groups
    expected = 0.4 - 0.36 * 0.5 * (1 + math.cos(math.pi * PER_EPOCH / (300 * PER_EPOCH)))
    assert matrices['weight_decay'] == pytest.approx(expected, rel=1e-9)
    assert vectors['weight_decay'] == 0
    assert {p.ndim > 1 for p in matrices['params']} == {True}
    assert {p.ndim > 1 for p in vectors['params']} == {False}


def test_the_whole_cosine_of_the_weight_decay():
    entry = dict(read(OWN_RECIPES[0]).param_scheduler[-1])
    assert entry.pop('convert_to_iter_based')
    groups = [
        {'params': [nn.Parameter(torch.ones(2, 2))]},
        {'params': [nn.Parameter(torch.ones(2))], 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.04)
    kind = PARAM_SCHEDULERS.get(f'mmpretrain.{entry.pop("type")}')
    schedule = kind.build_iter_from_epoch(optimizer, **entry, epoch_length=2)
    for step in range(600):
        wanted = 0.4 - 0.36 * 0.5 * (1 + math.cos(math.pi * step / 600))
        assert optimizer.param_groups[0]['weight_decay'] == pytest.approx(wanted, rel=1e-6)
        assert optimizer.param_groups[1]['weight_decay'] == 0
        optimizer.step()
        schedule.step()


@pytest.mark.dist
@pytest.mark.slow
def test_two_processes_keep_the_same_weights(tmp_path):
    """BatchNorm's statistics are synchronized, so these are equal as well."""
    ours, theirs = in_processes(2, tmp_path, train_as_one_of_two, LEAVES, str(tmp_path))
    assert len(ours) == len(LEAVES)
    for leaf, one, other in zip(LEAVES, ours, theirs, strict=True):
        assert one == other, leaf
        assert one['steps'] == PER_EPOCH


def test_prototypes_move_from_the_second_epoch_on(tmp_path):
    name = 'objectives.csm.neck.prototypes'
    _, seen = train(read(OWN_RECIPES[0]), tmp_path, epochs=2)
    same = [torch.equal(seen.rows[0][name], row[name]) for row in seen.rows]
    assert same == [True, True, True, False, False]
