"""Pretraining = one encoder, one expert, a dict of objectives, a view recipe."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn

from saip.models.experts import BaseExpert
from saip.models.objectives.base import MULTIRES
from saip.models.ops.blocks import NORM_EPS
from saip.models.selfsup.encoding import encode_views
from saip.registry import MODELS
from saip.structures import Encoded, Need, Views


class MultiObjectivePretrainer(BaseSelfSupervisor):
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
        wanted = {name: cfg for name, cfg in objectives.items() if cfg is not None}
        if not wanted:
            raise ValueError(
                'model.objectives: every objective is None; at least one is needed'
            )
        preprocessor = MODELS.build(data_preprocessor)
        super().__init__(
            # Trained for its image token: nothing that it passes through is frozen.
            backbone={'img_size': preprocessor.size, 'out_type': 'image_token', **backbone},
            data_preprocessor=preprocessor,
        )
        if tuple(self.backbone.img_size) != tuple(preprocessor.size):
            raise ValueError(
                f'model.backbone.img_size={tuple(self.backbone.img_size)} but the anchor is '
                f'{tuple(preprocessor.size)} (model.data_preprocessor.size); '
                'leave img_size out'
            )
        if self.backbone.patch_stride != preprocessor.recipe.patch_size:
            raise ValueError(
                f'the encoder has patches of {self.backbone.patch_stride} pixels, the views '
                f'(model.data_preprocessor.patch_size) of {preprocessor.recipe.patch_size}'
            )
        chosen = self._build_objectives(expert, wanted)
        self._request_views()
        if self._read_all_blocks():
            chosen = self._build_objectives(expert, wanted)  # the pixel features' width moved
        reads_pixels = any(
            need.pixel for need in (*self.student_needs.values(), *self.expert_needs.values())
        )
        self.pixel_norm: nn.Module = (
            nn.LayerNorm(self.backbone.pixel_dims, eps=NORM_EPS)
            if reads_pixels and not self.backbone.pixel_is_final
            else nn.Identity()
        )
        sources = {'backbone': self.backbone, 'pixel_norm': self.pixel_norm}
        for objective in self.objectives.values():
            sources.update(objective.momentum_modules())
        chosen.follow(sources)
        self.expert = chosen

    def _build_objectives(
        self, expert: dict[str, Any], wanted: dict[str, dict[str, Any]]
    ) -> BaseExpert:
        """Build the expert, which is returned, and the objectives; note what they read."""
        chosen = MODELS.build(dict(expert), default_args={'student': self.backbone})
        shared = {
            'encoder': self.backbone,
            'expert': chosen,
            'num_multires': self.data_preprocessor.num_multires,
        }
        self.objectives = nn.ModuleDict(
            {name: MODELS.build(dict(cfg), default_args=shared) for name, cfg in wanted.items()}
        )
        self.student_needs = self._merge([o.student_needs() for o in self.objectives.values()])
        self.expert_needs = self._merge([o.expert_needs() for o in self.objectives.values()])
        return chosen

    @staticmethod
    def _merge(needs: list[dict[str, Need]]) -> dict[str, Need]:
        merged: dict[str, Need] = {}
        for each in needs:
            for name, need in each.items():
                merged[name] = merged.get(name, Need()) | need
        return merged

    def _request_views(self) -> None:
        """Tell the preprocessor what to make; name what its recipe lacks."""
        made = self.data_preprocessor.available_views
        required: set[str] = set()
        for name, objective in self.objectives.items():
            read = {*objective.student_needs(), *objective.expert_needs()}
            read |= objective.other_views()
            read = {MULTIRES if view.startswith(f'{MULTIRES}_') else view for view in read}
            missing = sorted(read - made)
            if missing:
                raise ValueError(
                    f'objective {name!r} reads the view(s) {", ".join(missing)}, which '
                    f'model.data_preprocessor does not make; it makes {", ".join(sorted(made))}'
                )
            required |= read
        self.data_preprocessor.select(required)

    def _read_all_blocks(self) -> bool:
        """Leave no block of the encoder without a gradient, for subsets without image tokens.

        Returns:
            Whether the pixel features are now others than before.
        """
        if any(need.image for need in self.student_needs.values()):
            return False
        if not any(need.pixel for need in self.student_needs.values()):
            raise ValueError(
                f'the objectives {", ".join(self.objectives)} read neither image nor patch tokens '
                'of the student; add csm, csr or css'
            )
        moves = not self.backbone.pixel_is_final
        if moves:
            print_log(
                f'the objectives {", ".join(self.objectives)} read no image token of the student, '
                'so the pixel features are taken from the last block: later blocks would stay '
                'random',
                'current',
                logging.WARNING,
            )
        self.backbone.read_pixels_at_the_end()
        return moves

    def init_weights(self) -> None:
        """Initialise, then make what the expert averages equal to the student.

        Here and not before training, where it would overwrite a resumed expert.
        """
        super().init_weights()
        self.expert.copy_from_student()

    def set_clock(self, epoch: int, step: int) -> None:
        """Tell the views which epoch and step their random numbers belong to."""
        self.data_preprocessor.set_clock(epoch, step)

    def update_expert(self, momentum: float) -> None:
        """Move the expert and the objectives' running state once."""
        self.expert.update(momentum)
        for objective in self.objectives.values():
            objective.after_optimizer_step()

    def loss(self, inputs: Views, data_samples: Any = None) -> dict[str, Tensor]:
        """Losses ``loss_<objective>`` and diagnostics of a batch of views."""
        with torch.no_grad():
            seen = encode_views(
                self.expert.encoder(), self.expert.pixel_norm, inputs, self.expert_needs
            )
        expert = Encoded(seen, self.expert.modules_by_name())
        student = Encoded(
            encode_views(self.backbone, self.pixel_norm, inputs, self.student_needs)
        )
        losses: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            terms = objective.loss(student, expert, inputs)
            losses[f'loss_{name}'] = terms.pop('loss')
            losses.update(terms)
        return losses

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """``loss``: dict of losses; ``predict``: features per sample; ``tensor``: image tokens."""
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    @torch.no_grad()
    def predict(
        self, inputs: Tensor | dict[str, Tensor], data_samples: dict[str, Tensor]
    ) -> list[dict[str, Any]]:
        """Image tokens of student and expert for evaluation.

        Args:
            inputs: (B, 3, H, W) pictures, or two views of each picture by name.
            data_samples: what the data set says of each picture, as (B,) tensors.

        Returns:
            Per picture ``student`` and ``expert``, (D,) or (number of views, D) with a width D of
            their own, and the integers of ``data_samples``.
        """
        views = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
        encoders = {'student': self.backbone, 'expert': self.expert.encoder()}
        features = {
            name: torch.stack(
                [encoder.encode(view).require_image_token().float() for view in views], 1
            )
            for name, encoder in encoders.items()
        }
        labels = {key: value.tolist() for key, value in data_samples.items() if value.ndim == 1}
        single = not isinstance(inputs, dict)
        return [
            {name: x[i, 0] if single else x[i] for name, x in features.items()}
            | {key: values[i] for key, values in labels.items()}
            for i in range(len(views[0]))
        ]
