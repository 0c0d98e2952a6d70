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
    ``saip.TwoViewRecall`` report; every ``interval`` iterations, for each objective with
    prototypes, the means of the last ``interval`` logged values of ``loss_<objective>`` and
    ``<objective>_teacher_entropy``. It logs both as a share of ln K
    (``<objective>_loss_over_ln_k``, ``<objective>_entropy_over_ln_k``; K prototypes) and warns
    once per collapse, and once more on recovery. In the first tenth of a run (at most 5,000
    iterations) it is silent: there scores are uniform because nothing has been learned.

    Args:
        interval: iterations between two looks at the scores.
    """

    priority = 'NORMAL'  # after RuntimeInfoHook wrote the scalars, before LoggerHook reads them

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._collapsed: dict[str, bool] = {}
        self._scored: dict[str, tuple[int, float]] = {}

    def before_train(self, runner: Runner) -> None:
        """Find the objectives with prototypes, their K and the weight of their loss."""
        self._scored = {
            name: (scale, float(objective.loss_weight))
            for name, objective in unwrap(runner.model).objectives.items()
            if (scale := objective.collapse_scale()) is not None and objective.loss_weight
        }

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log the shares of ln K and judge the scores."""
        if self.every_n_train_iters(runner, self.interval):
            for name, (prototypes, loss_weight) in self._scored.items():
                self._judge(runner, name, prototypes, loss_weight)

    def _judge(self, runner: Runner, name: str, prototypes: int, loss_weight: float) -> None:
        """Judge the scores of one objective."""
        scalars = runner.message_hub.log_scalars
        losses = scalars.get(f'train/loss_{name}')
        entropies = scalars.get(f'train/{name}_teacher_entropy')
        if losses is None or entropies is None:
            return
        entropy = float(entropies.mean(self.interval))
        loss = float(losses.mean(self.interval)) / loss_weight
        full = math.log(prototypes)
        runner.message_hub.update_scalar(f'train/{name}_loss_over_ln_k', loss / full)
        runner.message_hub.update_scalar(f'train/{name}_entropy_over_ln_k', entropy / full)
        state = judge_scores(entropy, prototypes, loss)
        text = describe_scores(state, entropy, prototypes, loss, name)
        self._report(runner, f'scores of {name}', state, text)

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
        images = int(metrics[f'{prefix}/images' if prefix else 'images'])
        found[subject] = FeatureSpread.from_metrics(metrics, subject, images)
    return found
