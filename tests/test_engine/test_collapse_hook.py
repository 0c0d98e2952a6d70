"""What the collapse hook says, and when."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from saip.engine.hooks.collapse import CollapseHook, spreads_in
from saip.evaluation.collapse import feature_spread

PROTOTYPES = 4096
FULL = math.log(PROTOTYPES)


class Recorder:
    """Stands in for a logger and keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []

    def warning(self, text: str) -> None:
        self.said.append((logging.WARNING, text))

    def info(self, text: str) -> None:
        self.said.append((logging.INFO, text))


def make_runner(objectives=('csm',), max_iters=1000, loss_weight=1.0):
    scales = {name: None if name == 'csr' else PROTOTYPES for name in objectives}
    made = {
        name: SimpleNamespace(collapse_scale=lambda scale=scale: scale, loss_weight=loss_weight)
        for name, scale in scales.items()
    }
    return SimpleNamespace(
        model=SimpleNamespace(objectives=made),
        message_hub=MessageHub(f'collapse-{id(object())}'),
        logger=Recorder(),
        max_iters=max_iters,
        iter=0,
    )


def train(hook, runner, iterations, entropy, loss, name='csm'):
    """Run iterations as the runner does: hooks first, then the count moves on."""
    for _ in range(iterations):
        runner.message_hub.update_scalar(f'train/{name}_teacher_entropy', entropy)
        runner.message_hub.update_scalar(f'train/loss_{name}', loss)
        hook.after_train_iter(runner, 0)
        runner.iter += 1


def metrics_of(features, branch='retrieval/student'):
    return {
        **feature_spread(features).as_metrics(branch),
        'retrieval/images': len(features),
        'retrieval/student_mAP': 3.0,
    }


def features(noise, seed=0):
    return 1 + noise * torch.randn(200, 192, generator=torch.Generator().manual_seed(seed))


def test_spread_is_read_back_from_the_metrics():
    spread = feature_spread(features(1.0))

    assert spreads_in(metrics_of(features(1.0))) == {'retrieval/student': spread}


def test_feature_collapse_and_recovery_are_said_once():
    hook, runner = CollapseHook(), make_runner()
    for iteration, noise in [
        (200, 1),
        (300, 0.03),
        (400, 0.02),
        (500, 0.2),
        (600, 1),
        (700, 1),
    ]:
        runner.iter = iteration
        hook.after_val_epoch(runner, metrics_of(features(noise)))

    (level, collapse), (later_level, recovery) = runner.logger.said
    assert (level, later_level) == (logging.WARNING, logging.INFO)
    assert collapse.startswith('retrieval/student: features have collapsed')
    assert 'against 0.072 for healthy features of 192 dimensions' in collapse
    assert recovery.startswith('retrieval/student: features have recovered')


def test_networks_are_judged_apart():
    hook, runner = CollapseHook(), make_runner()
    runner.iter = 500
    hook.after_val_epoch(
        runner,
        metrics_of(features(1)) | metrics_of(features(0.01), 'retrieval/expert'),
    )

    assert [text.split(':')[0] for _, text in runner.logger.said] == ['retrieval/expert']


@pytest.mark.parametrize(
    ('entropy', 'loss', 'words'),
    [
        (FULL, FULL, 'the uniform distribution'),
        (1e-4, 1e-3, 'the same prototype'),
    ],
)
def test_scores_collapse_and_recover(entropy, loss, words):
    hook, runner = CollapseHook(interval=10), make_runner()
    hook.before_train(runner)
    train(hook, runner, 200, 0.9 * FULL, 0.95 * FULL)
    train(hook, runner, 100, entropy, loss)
    train(hook, runner, 100, 0.9 * FULL, 0.95 * FULL)

    (_, collapse), (_, recovery) = runner.logger.said
    assert words in collapse
    assert f'{loss:.3f} against ln K = 8.318 for 4096 prototypes' in collapse
    assert recovery.startswith('prototype scores have recovered')
    shares = runner.message_hub.get_scalar('train/csm_entropy_over_ln_k').data[0]
    assert shares[0] == pytest.approx(0.9)


def test_no_alarm_in_the_first_steps():
    hook, runner = CollapseHook(interval=10), make_runner(max_iters=1000)
    hook.before_train(runner)
    hook.after_val_epoch(runner, metrics_of(features(0.01)))
    train(hook, runner, 99, FULL, FULL)
    hook.after_val_epoch(runner, metrics_of(features(0.01)))

    assert runner.logger.said == []


def test_features_that_never_spread_are_reported_after_the_first_steps():
    hook, runner = CollapseHook(), make_runner(max_iters=1000)
    runner.iter = 150
    hook.after_val_epoch(runner, metrics_of(features(0.01)))

    assert len(runner.logger.said) == 1


def test_loss_weight_is_taken_out():
    hook, runner = CollapseHook(interval=10), make_runner(loss_weight=0.5)
    hook.before_train(runner)
    train(hook, runner, 10, 0.9 * FULL, 0.45 * FULL)

    share = runner.message_hub.get_scalar('train/csm_loss_over_ln_k').current()
    assert share == pytest.approx(0.9)


def test_every_objective_with_prototypes_is_watched():
    hook, runner = CollapseHook(interval=10), make_runner(objectives=('dino', 'csr', 'ibot'))
    hook.before_train(runner)
    train(hook, runner, 200, 0.9 * FULL, 0.95 * FULL, 'dino')
    train(hook, runner, 100, FULL, FULL, 'ibot')

    ((_, text),) = runner.logger.said
    assert f'loss_ibot {FULL:.3f}' in text
    assert 'train/ibot_entropy_over_ln_k' in runner.message_hub.log_scalars
    assert 'train/dino_entropy_over_ln_k' in runner.message_hub.log_scalars


def test_method_without_prototypes_is_left_alone():
    hook, runner = CollapseHook(interval=1), make_runner(objectives=('csr',))
    hook.before_train(runner)
    for _ in range(3):
        hook.after_train_iter(runner, 0)
        runner.iter += 1

    assert 'train/csm_entropy_over_ln_k' not in runner.message_hub.log_scalars
