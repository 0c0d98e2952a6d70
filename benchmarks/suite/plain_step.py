"""A training step as it is usually written, with the weights of a model of this project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saip.models.selfsup import Pretrainer
from saip.structures import Views
from suite import plain_model
from suite.training import optim_options, progress_of, total


class PlainStep:
    """Losses view by view, AdamW and expert parameter by parameter.

    Args:
        model: of preset ``saip``; its weights are trained.
    """

    def __init__(self, model: Pretrainer) -> None:
        self.model = model
        options = optim_options()
        self.max_norm = options['clip_grad']['max_norm']
        adamw = {key: value for key, value in options['optimizer'].items() if key != 'type'}
        self.trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {'params': [p for p in self.trained if p.ndim > 1]},
            {'params': [p for p in self.trained if p.ndim <= 1], 'weight_decay': 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, foreach=False, **adamw)
        self.pairs = list(pairs_of(model))

    def __call__(self, views: Views, number: int) -> dict[str, Tensor]:
        """One step on views that are there; returns the losses."""
        model, progress = self.model, progress_of(number)
        losses, scores = plain_model.losses(model, views)
        self.optimizer.zero_grad()
        total(losses).backward()
        nn.utils.clip_grad_norm_(self.trained, self.max_norm, foreach=False)
        csm: Any = model.objectives['csm']
        if progress.epoch < csm.frozen_epochs:
            csm.neck.prototypes.grad = None
        self.optimizer.step()
        self.update_expert(model.expert.momentum(progress))
        with torch.no_grad():
            head = csm.head
            head.center.mul_(head.center_momentum).add_(scores * (1 - head.center_momentum))
        return losses

    @torch.no_grad()
    def update_expert(self, momentum: float) -> None:
        """The expert's average, one parameter after the other."""
        for theirs, ours in self.pairs:
            theirs.mul_(momentum).add_((1 - momentum) * ours)


def pairs_of(model: Pretrainer) -> Iterator[tuple[Tensor, Tensor]]:
    """Parameters of the expert and of the student."""
    sources = {
        'backbone': model.backbone,
        'dense_norm': model.dense_norm,
        'csm_projector': model.objectives['csm'].neck,
    }
    for name, twin in model.expert.named_children():
        yield from zip(twin.parameters(), sources[name].parameters(), strict=True)
