"""Pretraining = one encoder, one expert or none, a dict of objectives, a dict of views."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn

from saip.compiling import compile_functions
from saip.errors import InputError
from saip.models.experts import BaseExpert
from saip.models.objectives.base import Parts
from saip.models.ops.blocks import NORM_EPS
from saip.models.ops.lowered_weights import lowered_weights
from saip.models.selfsup.encoding import encode_views
from saip.models.selfsup.init_from import InitFrom, load_parts
from saip.models.selfsup.inputs import (
    any_reads_last_block,
    check_conditions,
    check_declared,
    check_drops_tokens,
    check_sizes,
    check_trained,
    merge_inputs,
    required_views,
    take_wanted,
)
from saip.models.selfsup.kept_features import KeptFeatures
from saip.models.selfsup.predicting import (
    Feature,
    check_feature,
    predict_features,
    read_feature,
)
from saip.models.selfsup.training_state import TrainingState
from saip.registry import MODELS
from saip.structures import Encoded, ViewFeatures, Views


@MODELS.register_module()
class Pretrainer(TrainingState, BaseSelfSupervisor):
    """Encodes every view once and asks each objective for its loss.

    Only views that some objective reads are drawn, and each is encoded only as far as it is read.

    Args:
        backbone: the encoder; ``img_size`` defaults to the anchor's size.
        objectives: objectives by name; None leaves one out.
        data_preprocessor: the view recipe.
        expert: the expert; None for methods without one.
        feature: what evaluation reads of an encoder: ``image_token``, or ``patch_mean``, the mean
            of the final patch tokens.
        init_from: weights of another training to begin with, see
            :func:`saip.models.selfsup.init_from.load_parts`; None begins at random.
        compile: let ``torch.compile`` fuse what lies between the attentions, the projector and
            the matching loss, and on a GPU attend within views of all sizes by one call. Files
            are the same with and without. Off by default: compiling takes minutes, and whether a
            step then is faster depends on the machine.

    Raises:
        InputError: no objective is left, the recipe does not make a view that an objective
            reads, an objective needs an expert that is not there or an encoder that leaves hidden
            patches out, or encoder and recipe disagree about the anchor's size.
    """

    objectives: Any  # a ModuleDict of objectives

    def __init__(
        self,
        backbone: dict[str, Any],
        objectives: dict[str, dict[str, Any] | None],
        data_preprocessor: dict[str, Any],
        expert: dict[str, Any] | None = None,
        feature: Feature = 'image_token',
        init_from: dict[str, Any] | None = None,
        compile: bool = False,
    ) -> None:
        wanted = take_wanted(objectives)
        check_drops_tokens(wanted, backbone)
        views = MODELS.build(data_preprocessor)
        super().__init__(
            # Trained for its image token: nothing that it passes through is frozen.
            backbone={'img_size': views.size, 'out_type': 'image_token', **backbone},
            data_preprocessor=views,
        )
        check_sizes(self.backbone, views.size, views.patch_size)
        self.feature = check_feature(feature)
        self._kept_features = KeptFeatures()
        self.init_from = None if init_from is None else InitFrom.from_config(init_from)
        if not any_reads_last_block(wanted):
            self._read_dense_from_last_block(wanted)
        built = None
        if expert is not None:
            built = MODELS.build(dict(expert), default_args={'student': self.backbone})
        self.objectives = self._build_objectives(wanted, built)
        every = self.objectives.values()
        check_trained(self.objectives)
        required = required_views(self.objectives, views.recipe.names)
        check_conditions(self.backbone, views.recipe, required)
        views.select(required)
        self.student_inputs = merge_inputs(each.student_inputs() for each in every)
        self.expert_inputs = merge_inputs(each.expert_inputs() for each in every)
        reads = (*self.student_inputs.values(), *self.expert_inputs.values())
        normed = any(read.dense for read in reads) and not self.backbone.dense_is_final
        norm = nn.LayerNorm(self.backbone.dense_dims, eps=NORM_EPS)
        self.dense_norm = norm if normed else nn.Identity()
        self.expert = built
        self._follow(built)
        if compile:
            compile_functions(self)

    def _build_objectives(
        self, wanted: dict[str, dict[str, Any]], expert: BaseExpert | None
    ) -> nn.ModuleDict:
        views = self.data_preprocessor
        parts = Parts(self.backbone, expert, views.recipe.names, views.mean, views.std)
        built = {
            name: MODELS.build(dict(cfg), default_args={'parts': parts})
            for name, cfg in wanted.items()
        }
        for name, objective in built.items():
            check_declared(name, objective)
        return nn.ModuleDict(built)

    def _follow(self, expert: BaseExpert | None) -> None:
        """Tell the expert of which modules twins are read.

        Raises:
            InputError: an objective reads an expert where there is none.
        """
        twins = {
            twin_name(name, twin): module
            for name, each in self.objectives.items()
            for twin, module in each.twins().items()
        }
        if expert is None:
            if self.expert_inputs or twins:
                readers = [
                    n for n, e in self.objectives.items() if e.expert_inputs() or e.twins()
                ]
                raise InputError(
                    f'the objectives {", ".join(readers)} read the features of an expert, but '
                    'model.expert is None; take model.expert.type=saip.EMAExpert'
                )
            return
        reads_dense = any(read.dense for read in self.expert_inputs.values())
        norm = {'dense_norm': self.dense_norm} if reads_dense else {}
        expert.follow({'backbone': self.backbone, **norm, **twins})

    def _read_dense_from_last_block(self, wanted: dict[str, dict[str, Any]]) -> None:
        """Leave no block of the encoder without a gradient."""
        if not self.backbone.dense_is_final:
            print_log(
                f'the objectives {", ".join(wanted)} read no image token of the student; '
                'dense features come from the last block, since later blocks would stay random',
                'current',
                logging.WARNING,
            )
        self.backbone.read_dense_from_last_block()

    def init_weights(self) -> None:
        """Initialize, then make what the expert averages equal to the student.

        Here and not before training, where it would overwrite a resumed expert.
        """
        super().init_weights()
        if self.init_from is not None:
            load_parts(self, self.init_from, of_expert=False)
        if self.expert is not None:
            self.expert.copy_from_student()
        if self.init_from is not None:
            load_parts(self, self.init_from, of_expert=True)

    def loss(self, inputs: Views, data_samples: Any = None) -> dict[str, Tensor]:
        """Losses ``loss_<objective>`` and diagnostics of a batch of views.

        A diagnostic is named after its objective: ``csm_teacher_entropy``.
        """
        with lowered_weights(self):
            return self._loss(inputs)

    def _loss(self, inputs: Views) -> dict[str, Tensor]:
        experts = self.as_seen_by_objectives(self.encode_by_expert(inputs))
        inputs = self.derive_views(experts, inputs)
        student = Encoded(
            encode_views(self.backbone, self.dense_norm, inputs, self.student_inputs)
        )
        losses: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            terms = objective.loss(student, experts[name], inputs)
            losses[f'loss_{name}'] = terms.pop('loss')
            losses.update({f'{name}_{term}': value for term, value in terms.items()})
        return losses

    def as_seen_by_objectives(self, seen: dict[str, ViewFeatures]) -> dict[str, Encoded]:
        """What the expert saw, for each objective with the averages of its own modules."""
        averages = {} if self.expert is None else self.expert.modules_by_name()
        return {
            name: Encoded(
                seen, {twin: averages[twin_name(name, twin)] for twin in each.twins()}
            )
            for name, each in self.objectives.items()
        }

    def derive_views(self, experts: dict[str, Encoded], views: Views) -> Views:
        """All views of a step, with those that objectives make from the expert's features."""
        for name, objective in self.objectives.items():
            views = views.merged(objective.derive(experts[name], views))
        return views

    @torch.no_grad()
    def encode_by_expert(
        self, views: Views, with_weights: bool = True
    ) -> dict[str, ViewFeatures]:
        """The views as the expert sees them, by name; nothing without an expert.

        Args:
            views: all views of a step.
            with_weights: whether a frozen expert reads its weights first; counting operations
                needs none.
        """
        if self.expert is None or not self.expert_inputs:
            return {}
        encoder = self.expert.encoder() if with_weights else self.expert.network()
        return encode_views(encoder, self.expert.dense_norm, views, self.expert_inputs)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """``loss``: dict of losses; ``predict``: features per sample; ``tensor``: image tokens."""
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    @torch.no_grad()
    def predict(self, inputs: Any, data_samples: dict[str, Tensor]) -> list[dict[str, Any]]:
        """Features of ``student`` and, if there is one, ``expert``, see `predict_features`.

        An image that a frozen expert saw before is not encoded by it again.
        """
        readers = {'student': partial(read_feature, self.backbone, feature=self.feature)}
        if self.expert is not None:
            read = self._kept_features.read if self.expert.is_fixed else read_feature
            readers['expert'] = partial(read, self.expert.encoder(), feature=self.feature)
        return predict_features(readers, inputs, data_samples)


def twin_name(objective: str, twin: str) -> str:
    """Name under which the expert keeps the average of an objective's module."""
    return f'{objective}_{twin}'
