"""Experts: encoders that give learning targets (paper, Section III-A)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.models.backbones.base import BaseEncoder
from saip.models.ops import skipping
from saip.models.schedules import (
    CosineSchedule,
    OfficialCosineSchedule,
    Schedule,
    build_schedule,
)
from saip.registry import MODELS
from saip.structures import Progress


class BaseExpert(BaseModule):
    """An encoder that gives learning targets, without gradient and in eval mode.

    Attributes:
        is_average: the expert is an average of the student, so that features of both mean the
            same; what reads one may read the other.
        is_fixed: its encoder never changes, so that the features of an image may be kept.
        embed_dims: width of the image token.
        dense_dims: width of the tokens at the feature level.
        patch_stride: pixels per patch token at the feature level.
        dense_norm: norm of the dense features.
    """

    is_average: bool
    is_fixed: bool = False
    embed_dims: int
    dense_dims: int
    patch_stride: int
    dense_norm: nn.Module

    @abstractmethod
    def network(self) -> BaseEncoder:
        """The encoder, whose weights may not have been read yet."""

    def encoder(self) -> BaseEncoder:
        """The encoder, with its weights."""
        return self.network()

    @abstractmethod
    def follow(self, sources: Mapping[str, nn.Module]) -> None:
        """Learn which of the student's modules there are to average.

        Args:
            sources: the student's modules by the name the expert gives them; ``backbone`` is
                among them, and ``dense_norm`` if dense features of the expert are read.
        """

    @abstractmethod
    def modules_by_name(self) -> dict[str, nn.Module]:
        """Twins of the followed modules; empty without any."""

    @abstractmethod
    def copy_from_student(self) -> None:
        """Make what is averaged equal to the student."""

    def begin_step(self, progress: Progress) -> None:
        """Called before every micro-batch of a training."""

    def before_optimizer_step(self, progress: Progress) -> None:
        """Called before every optimizer step."""

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Called after every optimizer step, see the method of the objectives."""

    def after_micro_batch(self, progress: Progress) -> None:
        """Called after every micro-batch, after the optimizer step if there is one."""

    def scheduled(self, progress: Progress) -> dict[str, float]:
        """What schedules move, by the names that the log gives them."""
        return {}


# Weight of step t in the averages of buffers: (DECAY + 1) / (t + DECAY). Measured on StarNet-S3
# (preset saip, lr 2e-4) after 20 steps, as the deviation of the expert's image tokens between
# images, which is 0.42 if its BatchNorm uses the batch: 0.001 with momentum 0.996 alone (a
# constant target), 0.03 with a plain mean over all steps (DECAY 0), 0.24 with 4, 0.28 with 8.
DECAY = 4

DINO_MOMENTUM = CosineSchedule(0.996, 1.0)
OFFICIAL_MOMENTUM = OfficialCosineSchedule(0.996, 1.0)


@MODELS.register_module()
class EMAExpert(BaseExpert):
    """Moving averages of some of the student's modules.

    Parameters are averaged with the momentum from the first step on. Floating-point buffers, the
    statistics of BatchNorm, begin at (0, 1), which is no measurement and must be forgotten sooner:
    step t weighs at least 5 / (t + 4), so that the mean over all steps so far favors recent ones
    (polynomial-decay averaging, Shamir and Zhang, 2013) until the momentum takes over. Integer
    buffers are copied. The expert moves after every optimizer step that was not skipped.

    Args:
        student: the encoder that learns.
        momentum: weight of the old expert, a number or a schedule; by default DINO's, half a
            cosine from 0.996 to 1 over the run. 0 copies the student.

    Attributes:
        steps: number of updates so far; kept in checkpoints.
    """

    is_average = True
    steps: Tensor

    def __init__(
        self,
        student: BaseEncoder,
        momentum: float | dict[str, Any] | Schedule = DINO_MOMENTUM,
    ) -> None:
        super().__init__()
        self.momentum = build_schedule(momentum)
        self.embed_dims = student.embed_dims
        self.dense_dims = student.dense_dims
        self.patch_stride = student.patch_stride
        # A tuple hides the student's modules from state_dict and parameters().
        self._sources: tuple[dict[str, nn.Module]] = ({},)

    def follow(self, sources: Mapping[str, nn.Module]) -> None:
        """Make a twin of each of the student's modules."""
        for name, module in sources.items():
            self.add_module(name, deepcopy(module))
        if 'dense_norm' not in sources:  # nothing reads the expert's dense features
            self.dense_norm = nn.Identity()
        self.requires_grad_(False)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        self._sources = (dict(sources),)
        self.eval()

    def network(self) -> BaseEncoder:
        """The average of the student's encoder."""
        return self.backbone

    def train(self, mode: bool = True) -> EMAExpert:
        """Stay in eval mode."""
        return super().train(False)

    def init_weights(self) -> None:
        """Do nothing: the algorithm calls :meth:`copy_from_student` after its own."""

    def modules_by_name(self) -> dict[str, nn.Module]:
        """The averaged modules."""
        return dict(self.named_children())

    def _pairs(self) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
        """Tensors of expert and student: ``parameters``, ``averages`` and ``counts``."""
        pairs: dict[str, tuple[list[Tensor], list[Tensor]]] = {
            kind: ([], []) for kind in ('parameters', 'averages', 'counts')
        }
        for name, source in self._sources[0].items():
            twin = self.get_submodule(name)
            pairs['parameters'][0].extend(twin.parameters())
            pairs['parameters'][1].extend(source.parameters())
            for average, value in zip(twin.buffers(), source.buffers(), strict=True):
                kind = 'averages' if average.is_floating_point() else 'counts'
                pairs[kind][0].append(average)
                pairs[kind][1].append(value)
        return pairs

    @torch.no_grad()
    def copy_from_student(self) -> None:
        """Make the expert equal to the student."""
        for ours, theirs in self._pairs().values():
            if ours:
                torch._foreach_copy_(ours, theirs)
        self._set_mode_anew()

    def _set_mode_anew(self) -> None:
        """Go into training and back: until then TinyViT keeps what it derived from old weights."""
        super().train(True)
        super().train(False)

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Move towards the student."""
        self.update(self.momentum(progress), skipped)

    def scheduled(self, progress: Progress) -> dict[str, float]:
        """The momentum."""
        return {'momentum': self.momentum(progress)}

    @torch.no_grad()
    def update(self, momentum: float, skipped: Tensor | None = None) -> None:
        """Move once: expert = momentum * expert + (1 - momentum) * student.

        Args:
            momentum: weight of the old expert.
            skipped: () bool; stay if it is true. The student must be finite all the same.
        """
        if skipped is None:
            skipped = torch.zeros((), dtype=torch.bool)
        if skipping.readable(skipped):
            if skipped:
                return
            self._move(momentum, None)
        else:
            self._move(momentum, skipped)
        self._set_mode_anew()

    def _move(self, momentum: float, skipped: Tensor | None) -> None:
        """Move all tensors, or, given a flag on the device, add 0 to all of them if it is set."""
        pairs = self._pairs()
        ours, theirs = pairs['parameters']
        if skipped is None:
            torch._foreach_lerp_(ours, theirs, 1 - momentum)
            self.steps += 1
        else:
            weight = skipping.weight_unless(skipped, 1 - momentum)
            skipping.move_towards(ours, theirs, weight)
            self.steps += skipped.logical_not()
        ours, theirs = pairs['averages']
        if ours:
            # A tensor on the device: reading the steps here would stall a GPU in every step.
            weight = ((DECAY + 1) / (self.steps + DECAY)).clamp(min=1 - momentum)
            if skipped is not None:
                weight = weight.masked_fill(skipped, 0.0)
            skipping.move_towards(ours, theirs, weight)
        ours, theirs = pairs['counts']
        if ours:
            torch._foreach_copy_(ours, theirs)


@MODELS.register_module()
class OfficialEMAExpert(EMAExpert):
    """The first release's rhythm: the expert moves after every micro-batch.

    Whether the gradients are finite is not known then. The student's weights always are; where
    its buffers are not, nothing moves.

    Args:
        student: the encoder that learns.
        momentum: see :class:`EMAExpert`; by default the release's schedule.
    """

    def __init__(
        self,
        student: BaseEncoder,
        momentum: float | dict[str, Any] | Schedule = OFFICIAL_MOMENTUM,
    ) -> None:
        super().__init__(student, momentum)

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Do nothing."""

    def after_micro_batch(self, progress: Progress) -> None:
        """Move towards the student."""
        self.update(self.momentum(progress), self._finds_garbage())

    def _finds_garbage(self) -> Tensor | None:
        """() bool: a statistic of the student is not finite; None without statistics."""
        _, theirs = self._pairs()['averages']
        if not theirs:
            return None
        return torch.stack([x.isfinite().all() for x in theirs]).all().logical_not()
