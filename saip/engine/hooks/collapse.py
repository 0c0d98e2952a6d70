"""Say in words when a pretraining run collapses, and when it recovers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.unwrap import unwrap
from saip.evaluation.collapse import (
    FeatureSpread,
    describe_scores,
    describe_spread,
    judge_scores,
    judge_spread,
)
from saip.registry import HOOKS

GRACE_SHARE, GRACE_ITERS = 0.1, 5000


@HOOKS.register_module()
class CollapseHook(Hook):
    """Watch the features of the validation and the prototype scores of the training.

    After each validation it reads the statistics that ``saip.RetrievalMetric`` and
    ``saip.TwoViewRecall`` report; every ``interval`` iterations the means of the last
    ``interval`` logged values of ``loss_csm`` and ``teacher_entropy``. It logs both as a
    share of ln K (``loss_over_ln_k``, ``entropy_over_ln_k``; K prototypes) and warns once per
    collapse, and once more on recovery. In the first tenth of a run (at most 5,000 iterations)
    it is silent: there scores are uniform because nothing has been learnt.

    Args:
        interval: iterations between two looks at the scores.
    """

    priority = 'NORMAL'  # after RuntimeInfoHook wrote the scalars, before LoggerHook reads them

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._collapsed: dict[str, bool] = {}
        self._prototypes: int | None = None
        self._loss_weight = 1.0

    def before_train(self, runner: Runner) -> None:
        """Find K, where the method has prototypes."""
        model = unwrap(runner.model)
        if 'csm' in model.objectives:
            self._prototypes = int(model.objectives['csm'].neck.out_channels)
            self._loss_weight = float(model.objectives['csm'].loss_weight)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log the shares of ln K and judge the scores."""
        scalars = runner.message_hub.log_scalars
        entropies = scalars.get('train/teacher_entropy')
        due = self.every_n_train_iters(runner, self.interval)
        if not due or self._prototypes is None or entropies is None or not self._loss_weight:
            return
        entropy = float(entropies.mean(self.interval))
        loss = float(scalars['train/loss_csm'].mean(self.interval)) / self._loss_weight
        full = math.log(self._prototypes)
        runner.message_hub.update_scalar('train/loss_over_ln_k', loss / full)
        runner.message_hub.update_scalar('train/entropy_over_ln_k', entropy / full)
        state = judge_scores(entropy, self._prototypes, loss)
        self._report(
            runner,
            'scores',
            state,
            describe_scores(state, entropy, self._prototypes, loss),
        )

    def after_val_epoch(
        self, runner: Runner, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Judge the features of each network that the validation measured."""
        for subject, spread in spreads_in(metrics or {}).items():
            state = judge_spread(spread)
            self._report(runner, subject, state, describe_spread(subject, state, spread))

    def _report(self, runner: Runner, subject: str, state: str | None, text: str) -> None:
        """Say ``text`` if ``subject`` has changed between collapsed and healthy."""
        grace = min(GRACE_SHARE * runner.max_iters, GRACE_ITERS)
        if state in (None, 'between') or runner.iter < grace:
            return
        collapsed = state != 'healthy'
        if collapsed == self._collapsed.get(subject, False):
            return
        self._collapsed[subject] = collapsed
        if collapsed:
            runner.logger.warning(text)
        else:
            runner.logger.info(text)


def spreads_in(metrics: Mapping[str, float]) -> dict[str, FeatureSpread]:
    """Collect the spread of each network, by ``prefix/branch``, from a validation's metrics."""
    ending = '_feature_std'
    found = {}
    for name in metrics:
        if not name.endswith(ending):
            continue
        subject = name[: -len(ending)]
        prefix = subject.rpartition('/')[0]
        pictures = int(metrics[f'{prefix}/pictures' if prefix else 'pictures'])
        found[subject] = FeatureSpread.from_metrics(metrics, subject, pictures)
    return found
