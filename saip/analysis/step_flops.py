"""Floating-point operations of a pretraining step, part by part.

Nothing is computed: views are rendered for their sizes, and the step runs on torch's ``meta``
device, where tensors have a shape and no values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saip.analysis.flops import flop_counter
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.models.selfsup import Pretrainer
from saip.models.selfsup.encoding import encode_views
from saip.registry import MODELS
from saip.structures import (
    Encoded,
    EncoderOutput,
    PatchMask,
    Progress,
    Relations,
    View,
    ViewFeatures,
    Views,
)
from saip.views import ViewPlan

BATCH = 2
"""Images in a counted step: one is the other's stranger in the scene."""
CANVAS = (320, 160)
"""Size of the counted images; no view's size depends on it."""
DRAWS = 300
"""Steps in which every scale of every view is taken to occur."""

EXPERT = 'expert encoder'
STUDENT = 'student encoder'

Sizes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class StepCost:
    """Cost of a pretraining step.

    Attributes:
        flops: operations per image by part, a multiply-add counted as two, backward pass
            included: ``expert encoder``, ``student encoder`` and each objective's name for its
            neck and head (where an objective uses the expert's average of its neck, that too).
        parameters: trained parameters by part; the expert's are averages and count as none.
    """

    flops: dict[str, float]
    parameters: dict[str, int]


def step_cost(model_cfg: dict[str, Any]) -> StepCost:
    """Count the operations of a pretraining step per image, the mean over the views' scales.

    Args:
        model_cfg: ``model`` of a pretraining configuration.
    """
    with torch.device('meta'):
        model = MODELS.build(model_cfg).train()
    parts = {EXPERT: None, STUDENT: model.backbone, **dict(model.objectives.items())}
    flops = dict.fromkeys(parts, 0.0)
    for views, weight in _weighted_views(model_cfg['data_preprocessor']):
        for part, spent in count_step(model, views).items():
            flops[part] += weight * spent / BATCH
    return StepCost(
        flops=flops,
        parameters={
            part: 0
            if module is None
            else sum(p.numel() for p in module.parameters() if p.requires_grad)
            for part, module in parts.items()
        },
    )


def count_step(model: Pretrainer, views: Views) -> dict[str, int]:
    """Operations of one step by part, forward and backward, for the whole batch.

    The parts are those of :class:`StepCost`. The model may lie on the ``meta`` device.
    """
    spent: dict[str, int] = {}
    # One counter throughout: its hooks stay in the graph until the backward pass.
    with flop_counter() as counter:

        def book(part: str) -> None:
            """Put what was spent since the last call on a part's account."""
            new = counter.get_total_flops() - sum(spent.values())
            spent[part] = spent.get(part, 0) + new

        seen = model.encode_by_expert(views, with_weights=False)
        experts = model.as_seen_by_objectives(seen)
        views = model.derive_views(experts, views)
        book(EXPERT)
        encoded = encode_views(model.backbone, model.dense_norm, views, model.student_inputs)
        book(STUDENT)
        # The objectives' backward passes stop at copies of the features. What arrives there
        # goes through the encoder afterwards, once, as in a real step.
        copies: list[tuple[Tensor, Tensor]] = []
        student = Encoded({name: _cut(x, copies) for name, x in encoded.items()})
        for name, objective in model.objectives.items():
            objective.loss(student, experts[name], views)['loss'].backward()
            book(name)
        reached = [(x, copy.grad) for x, copy in copies if copy.grad is not None]
        torch.autograd.backward([x for x, _ in reached], [grad for _, grad in reached])
        book(STUDENT)
    return spent


def mean_weights(draws: Sequence[Sizes]) -> dict[int, float]:
    """Weights of a few draws whose weighted mean cost is the mean over all sizes of all views.

    What a view costs does not depend on the sizes of the other views, so costs are sums over
    (view, size), and draws that span these sums are enough.

    Args:
        draws: sizes of the views in each draw.

    Returns:
        Weights, which add up to 1 and may be negative, by index into ``draws``.
    """
    columns = [sorted(set(column)) for column in zip(*draws, strict=True)]
    table = np.array(
        [
            [k == value for k, column in zip(draw, columns, strict=True) for value in column]
            for draw in draws
        ],
        dtype=float,
    )
    chosen: list[int] = []
    for i in range(len(draws)):
        if np.linalg.matrix_rank(table[[*chosen, i]]) > len(chosen):
            chosen.append(i)
    wanted = np.array([1 / len(column) for column in columns for _ in column])
    weights = np.linalg.lstsq(table[chosen].T, wanted, rcond=None)[0]
    return dict(zip(chosen, weights.tolist(), strict=True))


def _weighted_views(preprocessor_cfg: dict[str, Any]) -> list[tuple[Views, float]]:
    """Views of several steps, without values, and their weights by :func:`mean_weights`."""
    # Backgrounds do not change a size, and a folder need not exist for counting.
    cfg = {**preprocessor_cfg, 'background_pool': None}
    preprocessor = MODELS.build(cfg)
    batch = {
        'canvas': torch.zeros(BATCH, 3, *CANVAS, dtype=torch.uint8),
        'size': torch.tensor([CANVAS] * BATCH),
        'key': torch.arange(BATCH),
        'keypoints': torch.zeros(BATCH, 17, 3),  # scores of 0: no joint is seen
    }
    first: dict[Sizes, int] = {}
    for step in range(DRAWS):
        preprocessor.begin_step(Progress.at(step, DRAWS, DRAWS))
        first.setdefault(_sizes(preprocessor, preprocessor.draw(batch)), step)
    views = []
    steps = list(first.values())
    for index, weight in mean_weights(list(first)).items():
        preprocessor.begin_step(Progress.at(steps[index], DRAWS, DRAWS))
        inputs = preprocessor(dict(batch), training=True)['inputs']
        views.append((_without_values(inputs), weight))
    return views


def _sizes(preprocessor: ViewsPreprocessor, plan: ViewPlan) -> Sizes:
    """Sizes of all views that are drawn, in a fixed order."""
    recipe = preprocessor.recipe
    return tuple(
        size for entry, draw in plan.draws.items() for size in recipe[entry].sizes(draw)
    )


def _without_values(views: Views) -> Views:
    return Views(
        {
            name: View(
                view.images.to('meta'),
                _mask_without_values(view.mask),
                None if view.condition is None else view.condition.to('meta'),
            )
            for name, view in views.by_name.items()
        },
        {name: target.to('meta') for name, target in views.targets.items()},
    )


def _mask_without_values(mask: PatchMask | None) -> PatchMask | None:
    if mask is None:
        return None
    weight = mask.scored_weight
    return PatchMask(
        keep=mask.keep.to('meta'),
        restore=mask.restore.to('meta'),
        scored=mask.scored.to('meta'),
        scored_weight=None if weight is None else weight.to('meta'),
    )


def _cut(features: ViewFeatures, copies: list[tuple[Tensor, Tensor]]) -> ViewFeatures:
    """Features as leaves of a new graph; each tensor and its leaf are added to ``copies``."""

    def leaf(x: Tensor | None) -> Any:
        if x is None:
            return None
        copy = x.detach().requires_grad_(x.requires_grad)
        copies.append((x, copy))
        return copy

    def output(x: EncoderOutput | None) -> EncoderOutput | None:
        return x and EncoderOutput(leaf(x.image_token), leaf(x.patch_tokens), x.grid)

    relations = features.relations
    if relations is not None:
        relations = Relations(leaf(relations.query_key), leaf(relations.value_value))
    return ViewFeatures(output(features.final), output(features.dense), relations)
