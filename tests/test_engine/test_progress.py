"""The progress of a run reaches the model, whatever else a configuration changes."""

from pathlib import Path

import mmpretrain.engine  # noqa: F401, registers its schedulers
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner

from saip.engine.optim import NoBiasDecayConstructor
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.models.schedules import cosine
from saip.registry import MODELS
from tests.test_recordings import runs
from tests.test_recordings.cases import Case
from tests.tiny import ROOT, build, preset_config

pytestmark = pytest.mark.usefixtures('fresh_mmengine')

LEAVES = sorted((ROOT / 'configs/pretrain').glob('*/*.py'))
LEAVES = [path for path in LEAVES if path.parent.name != '_base_']
# The other methods: tests/test_comparisons, which trains them without custom hooks, too.
PRESETS = sorted({name for p in LEAVES if (name := p.stem.split('_')[0]).startswith('saip')})


class Watch(runs.Recorder):
    """Keeps what moves in a training."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.anchors: list[torch.Tensor] = []
        self.progress: list = []
        self.moves: list[int] = []
        self.frozen: list[bool] = []

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        original = model.loss

        def loss(inputs, data_samples=None):
            self.anchors.append(next(iter(inputs.by_name.values())).images.clone())
            return original(inputs, data_samples)

        model.loss = loss

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        model = unwrap(runner.model)
        self.progress.append(model.progress)
        self.moves.append(int(getattr(model.expert, 'steps', 0)))
        super().after_train_iter(runner, batch_idx, data_batch, outputs)


def watched(
    case: Case, folder: Path, steps: int = 3, kind: type[Watch] = Watch
) -> tuple[Runner, Watch]:
    """A short training with real views of a case, in float32."""
    changes = {'model.data_preprocessor.type': 'saip.ViewsPreprocessor'}
    runner = runs.build_runner(case, folder, changes)
    watch = kind(steps)
    runner.register_hook(watch, priority='LOWEST')
    with pytest.raises(runs.EnoughError):
        runner.train()
    return runner, watch


@pytest.mark.sampled(3)
@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_no_leaf_keeps_its_training_state_in_the_list_of_custom_hooks(path):
    cfg = Config.fromfile(path)
    assert cfg.default_hooks.progress.type == 'saip.ProgressHook'
    assert {hook.type for hook in cfg.custom_hooks} <= {
        'saip.BadFilesHook',
        'saip.CollapseHook',
        'saip.ExportBackboneHook',
    }


@pytest.mark.sampled(2)
@pytest.mark.parametrize('preset', PRESETS)
def test_without_custom_hooks_everything_moves(preset, tmp_path):
    runner, watch = watched(Case(preset, accumulated=1), tmp_path)
    first, second, third = watch.anchors
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    model = unwrap(runner.model)
    if model.expert.is_average:
        assert watch.moves == [1, 2, 3]
        momenta = runner.message_hub.get_scalar('train/momentum').data[0]
        assert len(momenta) == 3
        own, twin = (next(x.parameters()) for x in (model.backbone, model.expert.backbone))
        assert not torch.equal(own, twin)
    for objective in model.objectives.values():
        if objective.collapse_scale() is not None:
            assert objective.head.center.any()
            assert not objective.head._pending


@pytest.mark.parametrize(('loop', 'accumulated'), [('epoch', 1), ('iter', 1), ('epoch', 3)])
def test_momentum_and_counts_follow_the_optimizer_steps(loop, accumulated, tmp_path):
    case = Case('saip-small', loop=loop, accumulated=accumulated)
    runner, watch = watched(case, tmp_path, steps=7)
    assert [p.step for p in watch.progress] == list(range(7))
    assert {p.total_steps for p in watch.progress} == {20}
    assert [p.epoch for p in watch.progress] == [0] * 5 + [1] * 2
    total = -(-20 // accumulated)
    momenta = list(runner.message_hub.get_scalar('train/momentum').data[0])
    assert momenta == [cosine(step // accumulated / total, 0.98, 1.0) for step in range(7)]
    assert watch.moves == [(step + 1) // accumulated for step in range(7)]


@pytest.mark.parametrize('loop', ['epoch', 'iter'])
def test_prototypes_stay_for_the_first_epoch_in_both_loops(loop, tmp_path):
    moved = []

    class Prototypes(Watch):
        def before_train(self, runner):
            super().before_train(runner)
            self.start = unwrap(runner.model).objectives['csm'].neck.prototypes.clone()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            now = unwrap(runner.model).objectives['csm'].neck.prototypes
            moved.append(not torch.equal(now, self.start))
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    watched(Case('saip', loop=loop), tmp_path, 6, Prototypes)
    assert moved == [False] * 5 + [True]


def test_a_run_without_the_hook_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, 'hooks_config', lambda case: {})
    runner = runs.build_runner(Case('saip-small'), tmp_path, {})
    with pytest.raises(RuntimeError, match=r'ProgressHook.*default_hooks'):
        runner.train()


def test_another_wrapper_is_refused(tmp_path, monkeypatch):
    plain = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    monkeypatch.setattr(runs, 'optimizer_config', lambda case: plain)
    runner = runs.build_runner(Case('saip-small'), tmp_path, {})
    message = r"optim_wrapper.type=saip.AutocastOptimWrapper.*dtype='float32'"
    with pytest.raises(InputError, match=message):
        runner.train()


def test_prototypes_to_freeze_must_exist():
    cfg = preset_config('saip')
    cfg.model.objectives.csm.neck = dict(type='saip.FeatureProjector', out_channels=8)
    with pytest.raises(ValueError, match='FeatureProjector has no prototypes'):
        MODELS.build(cfg.model)


def test_a_name_that_would_be_summed_is_refused():
    cfg = preset_config('saip')
    cfg.model.objectives.loss_csm = cfg.model.objectives.pop('csm')
    with pytest.raises(ValueError, match='must not contain "loss"'):
        MODELS.build(cfg.model)


def test_weight_decay_follows_mmpretrains_cosine_and_leaves_0_at_0():
    model = build()
    wrapper = NoBiasDecayConstructor(
        dict(
            type='saip.AutocastOptimWrapper',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04),
        )
    )(model)
    scheduler = PARAM_SCHEDULERS.build(
        dict(
            type='mmpretrain.CosineAnnealingWeightDecay',
            T_max=10,
            eta_min=0.4,
            by_epoch=False,
            optimizer=wrapper,
        )
    )
    decays = []
    for _ in range(10):
        decays.append([group['weight_decay'] for group in wrapper.optimizer.param_groups])
        scheduler.step()
    assert {bias for _, bias in decays} == {0.0}
    expected = [cosine(step / 10, 0.04, 0.4) for step in range(10)]
    assert [matrix for matrix, _ in decays] == pytest.approx(expected)
