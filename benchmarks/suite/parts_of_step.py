"""What the single decisions of the step are worth: each against the usual way to write it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from saip.models.losses.self_distillation import self_distillation
from saip.models.selfsup import Pretrainer
from saip.models.selfsup.encoding import encode_views
from saip.structures import Views
from suite import plain_model
from suite.figures import Figure, Part
from suite.interleaved import interleave
from suite.plain_step import PlainStep
from suite.sizes import Sizes
from suite.step import views_of
from suite.training import build, images, model_config, progress_of, total

GROUP = 'Parts of the step against the usual way to write them, one thread, processor time'
VIEWS, TARGETS = 10, 2


def measure(sizes: Sizes) -> Part:
    """All parts."""
    torch.manual_seed(0)
    model = build(model_config('saip', sizes.encoder))
    views = views_of(model.data_preprocessor, images(sizes.batch), 0)
    return Part(
        [
            encoding(model, views, sizes.rounds),
            prototype_loss(
                sizes.batch, model.objectives['csm'].neck.out_channels, sizes.rounds
            ),
            expert_update(model, sizes.rounds),
        ]
    )


def encoding(model: Pretrainer, views: Views, rounds: int) -> Figure:
    """The student's encoder, forward and backward: views packed against one call each."""
    names = list(model.student_inputs)

    def packed() -> dict[str, Tensor]:
        found = encode_views(model.backbone, model.dense_norm, views, model.student_inputs)
        return {name: found[name].require_final().image_token for name in names if read[name]}

    def one_by_one() -> dict[str, Tensor]:
        found = plain_model.encode_all(model.backbone, views, names)
        return {
            name: torch.cat([x[:, 0] for x, _ in found[name]]) for name in names if read[name]
        }

    read = {name: outputs.image_token for name, outputs in model.student_inputs.items()}
    with torch.no_grad():
        expected = one_by_one()
        for name, token in packed().items():
            torch.testing.assert_close(token, expected[name], rtol=1e-4, atol=1e-4)
    works = {
        'packed': lambda: total_square(packed()).backward(),
        'one by one': lambda: total_square(one_by_one()).backward(),
    }
    times = interleave(works, rounds)
    model.zero_grad()
    return Figure.of_ratio(
        'encoder_over_calls',
        'encoder: all views packed, against one call per view and stored attention maps',
        times.ratio('one by one', 'packed'),
        note='image tokens equal to 1e-4 in float32 first',
        group=GROUP,
    )


def total_square(tokens: dict[str, Tensor]) -> Tensor:
    """A loss that depends on every view."""
    return total({f'loss_{name}': x.square().sum() for name, x in tokens.items()})


def two_loops(scores: Tensor, targets: Tensor, same: dict[int, int]) -> Tensor:
    """Cross-entropy, one log-softmax per pair of views."""
    loss, pairs = 0.0, 0
    for t, target in enumerate(targets.chunk(TARGETS)):
        for v, prediction in enumerate(scores.chunk(VIEWS)):
            if same.get(v) != t:
                log = torch.nn.functional.log_softmax(prediction, -1)
                loss, pairs = loss + (-target * log).sum(-1).mean(), pairs + 1
    return loss / pairs


def prototype_loss(batch: int, prototypes: int, rounds: int) -> Figure:
    """The loss over the prototypes, forward and backward."""
    scores = (10 * torch.randn(VIEWS * batch, prototypes)).requires_grad_()
    targets = (10 * torch.randn(TARGETS * batch, prototypes)).softmax(-1)
    same = {0: 0, 1: 1}
    losses = {
        'ours': lambda: self_distillation(scores, targets, same, VIEWS),
        'loops': lambda: two_loops(scores, targets, same),
    }
    found = {name: torch.autograd.grad(loss(), scores)[0] for name, loss in losses.items()}
    torch.testing.assert_close(found['ours'], found['loops'], rtol=1e-3, atol=1e-6)
    works: dict[str, Any] = {
        name: (lambda loss=loss: torch.autograd.grad(loss(), scores))
        for name, loss in losses.items()
    }
    return Figure.of_ratio(
        'loss_over_loops',
        f'loss over {prototypes:,} prototypes, {VIEWS} views, against two loops',
        interleave(works, rounds).ratio('loops', 'ours'),
        note='gradients equal to 1e-6 first',
        group=GROUP,
    )


def expert_update(model: Pretrainer, rounds: int) -> Figure:
    """The expert's average."""
    expert, momentum = model.expert, model.expert.momentum(progress_of(0))
    other = deepcopy(model)
    for each in (model, other):
        torch.manual_seed(1)
        for parameter in each.parameters():
            if parameter.requires_grad:
                parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    plain = PlainStep(other)
    expert.update(momentum)
    plain.update_expert(momentum)
    twins = zip(expert.parameters(), other.expert.parameters(), strict=True)
    for ours, theirs in twins:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    works = {
        'ours': lambda: expert.update(momentum),
        'plain': lambda: plain.update_expert(momentum),
    }
    return Figure.of_ratio(
        'expert_over_loop',
        "the expert's average in one call, against parameter by parameter",
        interleave(works, rounds).ratio('plain', 'ours'),
        note='averages equal to 1e-6 first',
        group=GROUP,
    )
