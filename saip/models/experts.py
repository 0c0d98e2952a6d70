"""Experts: encoders that give learning targets (paper, Section III-A)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.registry import MODELS


@MODELS.register_module()
class EMAExpert(BaseModule):
    """Moving averages of some of the student's modules, without gradient and in eval mode.

    Parameters and floating-point buffers (BatchNorm statistics) are averaged, integer buffers
    are copied.

    Args:
        sources: the student's modules by the name the expert gives them; ``backbone`` is one.

    Attributes:
        steps: number of updates so far; kept in checkpoints.
    """

    steps: Tensor

    def __init__(self, sources: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, module in sources.items():
            self.add_module(name, deepcopy(module))
        self.requires_grad_(False)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        # A tuple hides the student's modules from state_dict and parameters().
        self._sources = (dict(sources),)
        self.eval()

    def train(self, mode: bool = True) -> EMAExpert:
        """Stay in eval mode."""
        return super().train(False)

    def init_weights(self) -> None:
        """Do nothing: the algorithm calls :meth:`copy_from_student` after its own."""

    def modules_by_name(self) -> dict[str, nn.Module]:
        """The averaged modules."""
        return dict(self.named_children())

    def _tensors(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Floating-point tensors of expert and student, then the integer ones."""
        ours: list[Tensor] = []
        theirs: list[Tensor] = []
        our_counts: list[Tensor] = []
        their_counts: list[Tensor] = []
        for name, source in self._sources[0].items():
            twin = self.get_submodule(name)
            pairs = zip(
                [*twin.parameters(), *twin.buffers()],
                [*source.parameters(), *source.buffers()],
                strict=True,
            )
            for mine, his in pairs:
                floating = mine.is_floating_point()
                (ours if floating else our_counts).append(mine)
                (theirs if floating else their_counts).append(his)
        return ours, theirs, our_counts, their_counts

    @torch.no_grad()
    def copy_from_student(self) -> None:
        """Make the expert equal to the student."""
        ours, theirs, our_counts, their_counts = self._tensors()
        torch._foreach_copy_(ours + our_counts, theirs + their_counts)

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Move once: expert = momentum * expert + (1 - momentum) * student."""
        ours, theirs, our_counts, their_counts = self._tensors()
        torch._foreach_lerp_(ours, theirs, 1 - momentum)
        if our_counts:
            torch._foreach_copy_(our_counts, their_counts)
        self.steps += 1
