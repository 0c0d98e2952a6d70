"""Cross-scale matching (CSM), Eq. 1."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.experts import BaseExpert
from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Progress, Views

Target = Literal['expert_globals', 'expert_multires', 'student_anchor']

# Who gives the target, on which views, and which views predict it.
ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'expert_globals': (
        ('anchor', 'augmented'),
        ('anchor', 'augmented', 'local_crops', 'multires'),
    ),
    'expert_multires': (('multires',), ('anchor',)),
    'student_anchor': (('anchor',), ('multires',)),
}


@MODELS.register_module()
class CrossScaleMatching(BaseObjective):
    """Image tokens of one image at different scales agree on their prototypes.

    Args:
        parts: encoder, which gives the projector's input width, expert, which projects its
            tokens with an average of the projector, and views.
        neck: the projector.
        head: the loss.
        target: ``expert_globals``: the expert's view of anchor and augmented is the target that
            the student predicts from every other view; ``expert_multires``: the expert's
            multires views are targets for the student's anchor; ``student_anchor``: Eq. 1 as
            printed, the student's anchor is the target of the expert's multires views.
        loss_weight: factor of the loss.
        frozen_epochs: number of epochs in which the prototypes keep their initial values (DINO's
            ``freeze_last_layer``).
        adapter: brings a frozen expert's tokens to the student's width, so that an average of
            the student's projector reads them. Experimental: one of the readings of Eq. 1 for a
            frozen expert, see docs/method.md.
        predictors: entries of the recipe whose views predict, in place of those of ``target``:
            anchor, augmented and local crops are DINO.

    Raises:
        InputError: an unknown target, predictors that leave no pair of two views, prototypes to
            freeze and a neck without any, a frozen expert without an adapter or as no target, or
            an adapter for an average.
    """

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        target: Target = 'expert_globals',
        loss_weight: float = 1.0,
        frozen_epochs: int = 0,
        adapter: dict[str, Any] | None = None,
        predictors: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(parts, loss_weight)
        if target not in ROLES:
            raise InputError(f'csm target={target!r}: choose one of {", ".join(ROLES)}')
        self.neck = MODELS.build({'in_channels': parts.encoder.embed_dims, **neck})
        self.head = MODELS.build({'out_channels': self.neck.out_channels, **head})
        self.frozen_epochs = frozen_epochs
        if frozen_epochs and 'prototypes' not in dict(self.neck.named_parameters()):
            raise InputError(
                f'csm frozen_epochs={frozen_epochs}: {type(self.neck).__name__} has no prototypes '
                'to freeze'
            )
        self.target = target
        expert = parts.require_expert('cross-scale matching (csm)')
        _check_adapter(expert, adapter, target)
        widths = {'in_channels': expert.embed_dims, 'out_channels': parts.encoder.embed_dims}
        self.adapter = nn.Identity() if adapter is None else MODELS.build({**widths, **adapter})
        targets, usual = ROLES[target]
        self.target_views = parts.expand(targets)
        self.predicting_views = parts.expand(usual if predictors is None else tuple(predictors))
        if not any(p != t for p in self.predicting_views for t in self.target_views):
            raise InputError(
                f'csm predictors={predictors!r}: no view predicts another; give entries of the '
                "recipe, such as ('anchor', 'augmented', 'local_crops')"
            )

    def student_inputs(self) -> dict[str, Outputs]:
        """Image tokens of the views that the student sees."""
        own = self.target_views if self.target == 'student_anchor' else self.predicting_views
        return dict.fromkeys(own, Outputs(image_token=True))

    def expert_inputs(self) -> dict[str, Outputs]:
        """Image tokens of the views that the expert sees."""
        other = self.predicting_views if self.target == 'student_anchor' else self.target_views
        return dict.fromkeys(other, Outputs(image_token=True))

    def twins(self) -> dict[str, nn.Module]:
        """The expert projects its tokens with an average of the projector."""
        return {'projector': self.neck}

    def collapse_scale(self) -> int:
        """Number of prototypes."""
        return int(self.neck.out_channels)

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Cross-entropy between the prototype distributions of different views."""
        with torch.no_grad():
            tokens, expert_views = gather_image_tokens(
                expert, list(self.expert_inputs()), views
            )
            theirs = expert.modules['projector'](self.adapter(tokens))
        tokens, student_views = gather_image_tokens(student, list(self.student_inputs()), views)
        ours = self.neck(tokens)
        if self.target == 'student_anchor':
            predictions, predictors, targets, target_views = (
                theirs,
                expert_views,
                ours,
                student_views,
            )
        else:
            predictions, predictors, targets, target_views = (
                ours,
                student_views,
                theirs,
                expert_views,
            )
        same_view = same_views(predictors, target_views)
        out = self.head.loss(predictions, targets, same_view, len(predictors))
        return {'loss': self.loss_weight * out['loss'], 'teacher_entropy': out['entropy']}

    def begin_step(self, progress: Progress) -> None:
        """Set the temperature of the targets."""
        self.head.begin_step(progress)

    def before_optimizer_step(self, progress: Progress) -> None:
        """Keep the prototypes still in the first epochs.

        Their gradient is dropped: zeros would still decay them, and ``requires_grad`` must not
        change, because distributed training fixes at its start which parameters have gradients.
        """
        if progress.epoch < self.frozen_epochs:
            self.neck.prototypes.grad = None

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Move the center."""
        self.head.update_center(skipped)


@MODELS.register_module()
class OfficialCrossScaleMatching(CrossScaleMatching):
    """The first release's rhythm: the center moves after every micro-batch.

    Whether its gradients are finite is not known then; a mean score that is not finite leaves the
    center as it is.
    """

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Do nothing."""

    def after_micro_batch(self, progress: Progress) -> None:
        """Move the center."""
        self.head.update_center()


def _check_adapter(expert: BaseExpert, adapter: dict[str, Any] | None, target: str) -> None:
    if expert.is_average and adapter is not None:
        raise InputError(
            'csm adapter: only a frozen expert needs one; '
            f"{type(expert).__name__} gives tokens of the student's width and meaning"
        )
    if not expert.is_average and adapter is None:
        raise InputError(
            'saip.CrossScaleMatching projects the tokens of the expert with an average of the '
            "student's projector, which does not read a frozen expert's; preset saip-official "
            'cannot do without. Take saip.FeatureDistillation, as in configs/pretrain/_base_/'
            'methods/saip-star.py, an adapter, as in saip-star-prototypes.py, or '
            'model.expert.type=saip.EMAExpert'
        )
    if adapter is not None and target == 'student_anchor':
        raise InputError(
            "csm target='student_anchor': with a frozen expert choose 'expert_globals' or "
            "'expert_multires', since it learns from no target"
        )


def same_views(predictors: list[str], targets: list[str]) -> dict[int, int]:
    """Positions in ``predictors`` of views that are targets too -> those in ``targets``."""
    return {i: targets.index(name) for i, name in enumerate(predictors) if name in targets}


def gather_image_tokens(
    encoded: Encoded, names: list[str], views: Views
) -> tuple[Tensor, list[str]]:
    """All image tokens of the named views, (V * B, D) view-major, and the name of each view.

    ``local_crops`` holds several crops of every image, so its name stands once for each.
    """
    batch = min(len(views[name].images) for name in names)
    tokens = [encoded.views[name].require_final().require_image_token() for name in names]
    repeated = [
        name for name, x in zip(names, tokens, strict=True) for _ in range(len(x) // batch)
    ]
    return torch.cat(tokens), repeated
