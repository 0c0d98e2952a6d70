"""Typed values that travel between the parts of a pretraining step.

Shapes: B images, n views of one kind per image, L patches of a grid ``(h, w)`` in raster
order, K kept patches, D channels, Q search queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

Grid = tuple[int, int]


@dataclass(frozen=True)
class Progress:
    """Where in a training run a micro-batch lies.

    Attributes:
        step: micro-batches before this one.
        total_steps: micro-batches of the run.
        optimizer_step: optimizer steps before the one that this micro-batch belongs to.
        total_optimizer_steps: optimizer steps of the run.
        steps_per_epoch: micro-batches per epoch.
        share: share of the run's images seen before the present optimizer step, in [0, 1).
            Schedules read it alone, so that they survive another batch size.
    """

    step: int
    total_steps: int
    optimizer_step: int
    total_optimizer_steps: int
    steps_per_epoch: int
    share: float

    @property
    def epoch(self) -> int:
        """Passes over the data set before this one."""
        return self.step // self.steps_per_epoch

    @classmethod
    def at(
        cls, step: int, total_steps: int, steps_per_epoch: int, accumulated: int = 1
    ) -> Progress:
        """Derive what follows from the micro-batch.

        Args:
            step: micro-batches before this one.
            total_steps: micro-batches of the run.
            steps_per_epoch: micro-batches per epoch.
            accumulated: micro-batches per optimizer step; the last may have fewer.
        """
        optimizer_step = step // accumulated
        total = math.ceil(total_steps / accumulated)
        share = min(optimizer_step, total) / total
        return cls(step, total_steps, optimizer_step, total, steps_per_epoch, share)


@dataclass(frozen=True)
class PatchMask:
    """Which patches of the masked view are hidden, per image.

    Attributes:
        keep: (B, K) raster indices of the visible patches, in the order in which they are encoded.
        restore: (B, L) for each raster position its place in the sequence
            ``[visible tokens, mask tokens]``.
        scored: (B, S) raster indices of the patches whose reconstruction is scored. S is the same
            for all images, or ``scored_weight`` says which entries count.
        scored_weight: (B, S) 1 for a scored entry, 0 for padding; None if all count.
    """

    keep: Tensor
    restore: Tensor
    scored: Tensor
    scored_weight: Tensor | None = None


@dataclass(frozen=True)
class View:
    """Images, and how an encoder sees them.

    Attributes:
        images: (n * B, 3, h, w) normalized, on the device; view-major, so ``chunk(n)`` gives n
            batches. Two views may share one tensor.
        mask: which patches are hidden; None hides none.
        condition: (n * B,) or (n * B, d) what the encoder is told beside the images, one row per
            image as in ``images``; None tells it nothing.
    """

    images: Tensor
    mask: PatchMask | None = None
    condition: Tensor | None = None


@dataclass
class Views:
    """All views of a batch.

    Attributes:
        by_name: the views.
        targets: what else was drawn with them and a step must know, by name, such as
            ``scene_masks`` (B, Q, H, W): where each query lies in the scene.
    """

    by_name: dict[str, View] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> View:
        return self.by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def merged(self, other: Views) -> Views:
        """Views and targets of both; those of ``other`` replace equal names."""
        return Views({**self.by_name, **other.by_name}, {**self.targets, **other.targets})


@dataclass(frozen=True)
class EncoderOutput:
    """Features of one batch of images at one depth of an encoder.

    Attributes:
        image_token: (B, D) the token of the whole image; None if it was not asked for.
        patch_tokens: (B, L, D) in raster order over ``grid``, only the kept ones if some were
            masked; None if they were not asked for.
        grid: (h, w) of the full patch grid.
    """

    image_token: Tensor | None
    patch_tokens: Tensor | None
    grid: Grid

    def require_image_token(self) -> Tensor:
        """Return ``image_token``.

        Raises:
            RuntimeError: the image token was not computed.
        """
        if self.image_token is None:
            raise RuntimeError('the image token of this view was not requested')
        return self.image_token

    def require_patch_tokens(self) -> Tensor:
        """Return ``patch_tokens``.

        Raises:
            RuntimeError: the patch tokens were not computed.
        """
        if self.patch_tokens is None:
            raise RuntimeError('the patch tokens of this view were not requested')
        return self.patch_tokens


@dataclass(frozen=True)
class Relations:
    """Attention relations of the last block per head: softmax(q k^T) and softmax(v v^T).

    Both (B, heads, T, T); T = 1 + L, the image token first.
    """

    query_key: Tensor
    value_value: Tensor


@dataclass(frozen=True)
class Outputs:
    """What an objective reads of an encoded view.

    Attributes:
        image_token: the image token after the last block and the final norm.
        patch_tokens: the patch tokens after the last block and the final norm.
        dense: tokens at the encoder's feature level, the input of the dense objectives.
        relations: attention relations of the last block.
    """

    image_token: bool = False
    patch_tokens: bool = False
    dense: bool = False
    relations: bool = False

    def __or__(self, other: Outputs) -> Outputs:
        return Outputs(
            self.image_token or other.image_token,
            self.patch_tokens or other.patch_tokens,
            self.dense or other.dense,
            self.relations or other.relations,
        )


@dataclass(frozen=True)
class EncodeRequest:
    """One batch of equally sized images to encode.

    Attributes:
        images: (B, 3, h, w) normalized.
        outputs: what to compute.
        keep: (B, K) raster indices of visible patches; None encodes all.
        condition: (B,) what a controller is told of each image; None leaves it at its default.
    """

    images: Tensor
    outputs: Outputs
    keep: Tensor | None = None
    condition: Tensor | None = None


@dataclass(frozen=True)
class ViewFeatures:
    """What an encoder computed for one request.

    Attributes:
        final: after the last block and the final norm (``Outputs.image_token`` and
            ``Outputs.patch_tokens``).
        dense: at the feature level (``Outputs.dense``).
        relations: last-block relations (``Outputs.relations``).
    """

    final: EncoderOutput | None = None
    dense: EncoderOutput | None = None
    relations: Relations | None = None

    def require_final(self) -> EncoderOutput:
        """Return ``final``.

        Raises:
            RuntimeError: it was not requested.
        """
        if self.final is None:
            raise RuntimeError('the final features of this view were not requested')
        return self.final

    def require_dense(self) -> EncoderOutput:
        """Return ``dense``.

        Raises:
            RuntimeError: it was not requested.
        """
        if self.dense is None:
            raise RuntimeError('the dense features of this view were not requested')
        return self.dense

    def require_relations(self) -> Relations:
        """Return ``relations``.

        Raises:
            RuntimeError: they were not requested.
        """
        if self.relations is None:
            raise RuntimeError('the relations of this view were not requested')
        return self.relations


@dataclass(frozen=True)
class Encoded:
    """The views as one of the two encoders sees them.

    Attributes:
        views: features by view name (see :class:`Views`).
        modules: the expert's twins of the modules that objectives declare, by name; empty for
            the student, whose objectives own theirs.
    """

    views: dict[str, ViewFeatures]
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
