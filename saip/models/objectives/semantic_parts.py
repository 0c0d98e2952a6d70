"""SOLIDER's semantic objective: parts of a body, found by clustering, are told apart."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.models.ops.clustering import cluster, order_by_row, split_in_two
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, View, Views


@MODELS.register_module()
class SemanticParts(BaseObjective):
    """The student names the part that each patch shows, also where a part is erased.

    Labels come from the expert's last patch tokens (Chen et al., SOLIDER, CVPR 2023, Section 3.2).
    Tokens with long features are foreground, by k-means with two clusters; an image counts if
    more than half of its tokens are. The foreground is clustered into parts, which are numbered
    from top to bottom; background is 0. One part is then erased from the student's image, that
    is, set to the mean color; labels stay. Each image weighs as much as its condition λ says.

    The labels and ``kept`` of a view are the targets ``VIEW_labels`` (B, N) and ``VIEW_kept``
    (B,), the erased view is ``VIEW_erased``.

    Args:
        parts: encoder, which gives the classifier's input width, and expert, an average of it.
        neck: the classifier.
        head: the loss.
        views: views of the student.
        clustered: for each of them the name under which the expert sees the same images, with
            the condition 1.
        chosen: target with a column per view of numbers in [0, 1) that choose the erased part.
        num_parts: number of parts without the background.
        train_classifier: whether the classifier learns; otherwise it stays a random projection,
            as in the release, whose optimizer is not given its parameters.
        loss_weight: factor of the loss.

    Raises:
        InputError: there is no expert or it is no average of the student, or there are not as
            many views for the expert as for the student.
    """

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        views: tuple[str, ...] = ('anchor', 'augmented'),
        clustered: tuple[str, ...] = ('anchor_semantic', 'augmented_semantic'),
        chosen: str = 'erased_part',
        num_parts: int = 3,
        train_classifier: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        expert = parts.require_expert('saip.SemanticParts')
        if not expert.is_average:
            raise InputError(
                f'saip.SemanticParts labels the patches of the student by those of the expert, so '
                f'both need one encoder: model.expert.type=saip.EMAExpert instead of '
                f'{type(expert).__name__}'
            )
        if len(views) != len(clustered):
            raise InputError(
                f'saip.SemanticParts clustered={tuple(clustered)!r}: one name for each of '
                f'views={tuple(views)!r}'
            )
        if num_parts < 2:
            raise InputError(f'saip.SemanticParts num_parts={num_parts}: at least 2')
        widths = {'in_channels': parts.encoder.patch_dims, 'out_channels': num_parts + 1}
        self.neck = MODELS.build({**widths, **neck})
        self.neck.requires_grad_(train_classifier)
        self.head = MODELS.build(head)
        self.views = tuple(views)
        self.clustered = tuple(clustered)
        self.chosen = chosen
        self.num_parts = num_parts

    def student_inputs(self) -> dict[str, Outputs]:
        """Patch tokens of the views, whole and with a part erased."""
        return dict.fromkeys(self._both(), Outputs(patch_tokens=True))

    def expert_inputs(self) -> dict[str, Outputs]:
        """Patch tokens of the same images."""
        return dict.fromkeys(self.clustered, Outputs(patch_tokens=True))

    def other_views(self) -> frozenset[str]:
        """The numbers that choose what is erased."""
        return frozenset({self.chosen})

    def derived_views(self) -> frozenset[str]:
        """The views with a part erased."""
        return frozenset(map(_erased, self.views))

    def _both(self) -> list[str]:
        return [*map(_erased, self.views), *self.views]

    @torch.no_grad()
    def derive(self, expert: Encoded, views: Views) -> Views:
        """Label the patches, and erase a part.

        Raises:
            InputError: there is not one column of numbers per view.
        """
        numbers = views.targets[self.chosen]
        if numbers.shape[1:] != (len(self.views),):
            raise InputError(
                f'model.data_preprocessor.views.{self.chosen}: saip.SemanticParts needs number='
                f'{len(self.views)}, one for each of its views {", ".join(self.views)}'
            )
        derived = Views()
        for view, target, column in zip(self.views, self.clustered, numbers.T, strict=True):
            output = expert.views[target].require_final()
            labels, kept = self.label(output.require_patch_tokens(), output.grid[1])
            part = (column * self.num_parts).long() + 1
            hidden = (labels == part[:, None]) & kept[:, None]
            whole = views[view]
            images = erase(whole.images, hidden.unflatten(1, output.grid))
            derived.by_name[_erased(view)] = View(images, condition=whole.condition)
            derived.targets |= {f'{view}_labels': labels, f'{view}_kept': kept.float()}
        return derived

    def label(self, tokens: Tensor, columns: int) -> tuple[Tensor, Tensor]:
        """Label patches by clustering.

        Args:
            tokens: (B, N, D) in raster order.
            columns: of the grid.

        Returns:
            (B, N) labels, 0 for background and 1 ... ``num_parts`` from top to bottom, and (B,)
            bool, which images count.
        """
        foreground = split_in_two(tokens.norm(dim=-1))
        kept = 2 * foreground.sum(1) > foreground.shape[1]
        clusters = cluster(tokens, foreground, self.num_parts)
        return order_by_row(clusters, foreground, self.num_parts, columns), kept

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Cross-entropy of the parts in whole and in erased images, against the same labels."""
        names = self._both()
        tokens = [student.views[name].require_final().require_patch_tokens() for name in names]
        labels, kept = (
            torch.cat([views.targets[f'{view}_{kind}'] for view in self.views] * 2)
            for kind in ('labels', 'kept')
        )
        weight = torch.cat([_weight(views[name]) for name in names])
        rows = torch.cat(tokens)
        scores = self.neck(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        out = self.head.loss(scores, labels, kept, weight)
        return {
            'loss': self.loss_weight * out['loss'],
            'accuracy': out['accuracy'],
            'kept': kept.mean(),
        }


def erase(images: Tensor, hidden: Tensor) -> Tensor:
    """Set cells of normalized images to 0, the mean color.

    Args:
        images: (B, 3, H, W).
        hidden: (B, h, w) bool, enlarged to the images by the nearest cell.
    """
    size = (images.shape[-2], images.shape[-1])
    mask = F.interpolate(hidden[:, None].to(images.dtype), size=size, mode='nearest')
    return images.masked_fill(mask.bool(), 0.0)


def _erased(view: str) -> str:
    return f'{view}_erased'


def _weight(view: View) -> Tensor:
    """(B,) factors of a view's images: their condition, 1 without one."""
    if view.condition is not None:
        return view.condition
    return view.images.new_ones(len(view.images))
