"""Matching of token relations, the fourth objective of the method's first release."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Relations, Views

_VIEWS = ('anchor', 'augmented')


@MODELS.register_module()
class AttentionRelationDistillation(BaseObjective):
    """Student and expert relate the tokens of the same view alike, in their last block.

    Args:
        parts: the encoder and the expert, an average of it or, with merged heads, a frozen one.
        head: the loss.
        merge_heads: compare the mean over the heads instead of head with head. Experimental: one
            of the readings of Eq. 1 for a frozen expert, whose heads are others in number and
            meaning.
        loss_weight: factor of the loss.

    Raises:
        InputError: one of the encoders has no attention over all tokens, or a frozen expert is
            to be compared head by head.
    """

    # Queries, keys and values of the last block are read, what follows them there is not.
    reads_last_block = False

    def __init__(
        self,
        parts: Parts,
        head: dict[str, Any],
        merge_heads: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        encoder, expert = parts.encoder, parts.require_expert('the relation objective')
        if not encoder.has_relations:
            raise InputError(
                f'the relation objective (preset saip-official) needs a ViT; '
                f'{type(encoder).__name__} has no attention over all tokens'
            )
        if not expert.is_average and not merge_heads:
            raise InputError(
                'the relation objective (preset saip-official) compares attention head by head, '
                'so its expert is an average of the student: model.expert.type=saip.EMAExpert; '
                f'{type(expert).__name__} has heads of its own, whose mean merge_heads=True '
                'compares'
            )
        # Whether the grids agree was checked with the expert: its patches are the student's.
        if not expert.is_average and not expert.network().has_relations:
            raise InputError(
                'the relation objective needs a ViT as expert, too; '
                f'{type(expert.network()).__name__} (model.expert.encoder) has no attention over '
                'all tokens'
            )
        self.head = MODELS.build(head)
        self.merge_heads = merge_heads

    def student_inputs(self) -> dict[str, Outputs]:
        """Last-block relations of both global views."""
        return dict.fromkeys(_VIEWS, Outputs(relations=True))

    def expert_inputs(self) -> dict[str, Outputs]:
        """The same of the expert."""
        return self.student_inputs()

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """KL divergence of the student's relations from the expert's."""
        pair = [_gather(encoded, self.merge_heads) for encoded in (student, expert)]
        return {'loss': self.loss_weight * self.head.loss(*pair)}


def _gather(encoded: Encoded, merge_heads: bool) -> Relations:
    """Relations of both views as one batch, so that one mean covers them."""
    parts = [encoded.views[name].require_relations() for name in _VIEWS]
    maps = (
        torch.cat([part.query_key for part in parts]),
        torch.cat([part.value_value for part in parts]),
    )
    if merge_heads:
        maps = (maps[0].mean(1, keepdim=True), maps[1].mean(1, keepdim=True))
    return Relations(*maps)
