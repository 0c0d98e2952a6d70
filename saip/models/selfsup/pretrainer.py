"""Pretraining = one encoder, one expert, a dict of objectives, a view recipe."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn

from saip.models.experts import BaseExpert
from saip.models.ops.blocks import NORM_EPS
from saip.models.selfsup.encoding import encode_views
from saip.models.selfsup.needs import (
    check_sizes,
    merge_needs,
    required_views,
    student_lacks_image_tokens,
    take_wanted,
)
from saip.models.selfsup.predicting import predict_tokens
from saip.models.selfsup.training_state import TrainingState
from saip.registry import MODELS
from saip.structures import Encoded, Views


class MultiObjectivePretrainer(TrainingState, BaseSelfSupervisor):
    """Encodes every view once and asks each objective for its loss.

    Only views that some objective reads are drawn, and each is encoded only as far as it is read.

    Args:
        backbone: the encoder; ``img_size`` defaults to the anchor's size.
        objectives: objectives by name; None leaves one out.
        data_preprocessor: the view recipe.
        expert: the expert.

    Raises:
        ValueError: no objective is left, the recipe does not make a view that an objective
            reads, or encoder and recipe disagree about the anchor's size.
    """

    objectives: Any  # a ModuleDict of objectives

    def __init__(
        self,
        backbone: dict[str, Any],
        objectives: dict[str, dict[str, Any] | None],
        data_preprocessor: dict[str, Any],
        expert: dict[str, Any],
    ) -> None:
        wanted = take_wanted(objectives)
        views = MODELS.build(data_preprocessor)
        super().__init__(
            # Trained for its image token: nothing that it passes through is frozen.
            backbone={'img_size': views.size, 'out_type': 'image_token', **backbone},
            data_preprocessor=views,
        )
        check_sizes(self.backbone, views.size, views.recipe.patch_size)
        built = MODELS.build(dict(expert), default_args={'student': self.backbone})
        self.objectives = self._build_objectives(wanted, built)
        views.select(required_views(self.objectives, views.available_views))
        if student_lacks_image_tokens(self.objectives) and self._read_pixels_at_the_end(built):
            self.objectives = self._build_objectives(wanted, built)
        every = self.objectives.values()
        self.student_needs = merge_needs(each.student_needs() for each in every)
        self.expert_needs = merge_needs(each.expert_needs() for each in every)
        needs = (*self.student_needs.values(), *self.expert_needs.values())
        normed = any(need.pixel for need in needs) and not self.backbone.pixel_is_final
        norm = nn.LayerNorm(self.backbone.pixel_dims, eps=NORM_EPS)
        self.pixel_norm = norm if normed else nn.Identity()
        sources = {'backbone': self.backbone, 'pixel_norm': self.pixel_norm}
        for name, each in self.objectives.items():
            twins = each.twins()
            sources.update({twin_name(name, twin): twins[twin] for twin in twins})
        built.follow(sources)
        self.expert = built

    def _build_objectives(
        self, wanted: dict[str, dict[str, Any]], expert: BaseExpert
    ) -> nn.ModuleDict:
        shared = {
            'encoder': self.backbone,
            'expert': expert,
            'num_multires': self.data_preprocessor.num_multires,
        }
        return nn.ModuleDict(
            {name: MODELS.build(dict(cfg), default_args=shared) for name, cfg in wanted.items()}
        )

    def _read_pixels_at_the_end(self, expert: BaseExpert) -> bool:
        """Leave no block of the encoder without a gradient; return whether widths changed."""
        if not self.backbone.pixel_is_final:
            print_log(
                f'the objectives {", ".join(self.objectives)} read no image token of the student; '
                'pixel features come from the last block, since later blocks would stay random',
                'current',
                logging.WARNING,
            )
        before = self.backbone.pixel_dims
        self.backbone.read_pixels_at_the_end()
        if expert.is_average:  # its features are as wide as the student's
            expert.pixel_dims = self.backbone.pixel_dims
        return self.backbone.pixel_dims != before

    def init_weights(self) -> None:
        """Initialise, then make what the expert averages equal to the student.

        Here and not before training, where it would overwrite a resumed expert.
        """
        super().init_weights()
        self.expert.copy_from_student()

    def twins_of(self, name: str) -> dict[str, nn.Module]:
        """The expert's averages of an objective's modules, by the objective's names for them."""
        averages = self.expert.modules_by_name()
        return {twin: averages[twin_name(name, twin)] for twin in self.objectives[name].twins()}

    def loss(self, inputs: Views, data_samples: Any = None) -> dict[str, Tensor]:
        """Losses ``loss_<objective>`` and diagnostics of a batch of views."""
        with torch.no_grad():
            seen = encode_views(
                self.expert.encoder(), self.expert.pixel_norm, inputs, self.expert_needs
            )
        own = encode_views(self.backbone, self.pixel_norm, inputs, self.student_needs)
        student = Encoded(own)
        losses: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            terms = objective.loss(student, Encoded(seen, self.twins_of(name)), inputs)
            losses[f'loss_{name}'] = terms.pop('loss')
            losses.update({f'{name}_{term}': value for term, value in terms.items()})
        return losses

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """``loss``: dict of losses; ``predict``: features per sample; ``tensor``: image tokens."""
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    @torch.no_grad()
    def predict(self, inputs: Any, data_samples: dict[str, Tensor]) -> list[dict[str, Any]]:
        """Image tokens of ``student`` and ``expert``, see :func:`predict_tokens`."""
        encoders = {'student': self.backbone, 'expert': self.expert.encoder()}
        return predict_tokens(encoders, inputs, data_samples)


def twin_name(objective: str, twin: str) -> str:
    """Name under which the expert keeps the average of an objective's module."""
    return f'{objective}_{twin}'
