"""An expert that others have pretrained, and that stays as it is (SAIP*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from saip.checkpoint import CheckpointError, WeightsError, load_pretrained
from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder
from saip.models.experts import BaseExpert, EMAExpert
from saip.models.ops.blocks import NORM_EPS
from saip.models.schedules import Schedule
from saip.registry import MODELS
from saip.structures import Progress

EXPERT_REMEDY = (
    "name a file of this project's keys by SAIP_EXPERT or model.expert.checkpoint: PATH's "
    'release is converted by tools/model_converters/path_to_saip.py, backbones of this project '
    'are exported by tools/export_backbone.py'
)


@MODELS.register_module()
class FrozenExpert(BaseExpert):
    """A pretrained encoder that stays as it is (SAIP* in the paper).

    Nothing trains it, so its tensors are in no optimizer, no checkpoint and no distributed
    reduction: the encoder is hidden from all of them, and whoever resumes or tests a run has it
    read from its own file again, at the latest when it is first used. Its dense features pass a
    norm without parameters, unless they are already normed by the encoder's last.

    Args:
        student: the encoder that learns; its patches must be as large as the expert's.
        encoder: configuration of the expert's encoder.
        checkpoint: file with all its weights below ``backbone.``.
        momentum: of the averages that objectives read of modules of their own, see
            :class:`saip.models.experts.EMAExpert`; None: there are none. These averages are in
            checkpoints.

    Raises:
        InputError: there is no checkpoint, or the patches differ.
    """

    is_average = False
    is_fixed = True

    def __init__(
        self,
        student: BaseEncoder,
        encoder: dict[str, Any],
        checkpoint: str | None,
        momentum: float | dict[str, Any] | Schedule | None = None,
    ) -> None:
        super().__init__()
        if checkpoint is None:
            raise InputError(
                'model.expert.checkpoint is None, but a frozen expert with random weights '
                f'teaches nothing; {EXPERT_REMEDY}'
            )
        built: BaseEncoder = MODELS.build(dict(encoder))
        if built.patch_stride != student.patch_stride:
            raise InputError(
                f'model.expert.encoder has patches of {built.patch_stride} pixels, '
                f'model.backbone of {student.patch_stride}; views and masks fit only one of them'
            )
        self.embed_dims = built.embed_dims
        self.dense_dims = built.dense_dims
        self.patch_stride = built.patch_stride
        self.checkpoint = checkpoint
        self.dense_norm = (
            nn.Identity()
            if built.dense_is_final
            else nn.LayerNorm(built.dense_dims, eps=NORM_EPS, elementwise_affine=False)
        )
        # A tuple hides the encoder from state_dict, parameters(), train() and init_weights().
        self._hidden = (built.requires_grad_(False).eval(),)
        self._loaded = False
        self.averages = None if momentum is None else EMAExpert(student, momentum)

    def _apply(self, fn: Callable, recurse: bool = True) -> FrozenExpert:
        """Take the hidden encoder along to another device or type."""
        self._hidden[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def network(self) -> BaseEncoder:
        """The encoder, random until its weights are read."""
        return self._hidden[0]

    def encoder(self) -> BaseEncoder:
        """The encoder; the first call reads its weights.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            WeightsError: the checkpoint is not one of this encoder.
            CheckpointError: the checkpoint cannot be read.
        """
        if not self._loaded:
            self._load()
        return self._hidden[0]

    def _load(self) -> None:
        try:
            load_pretrained(
                self._hidden[0], {'checkpoint': self.checkpoint, 'prefix': 'backbone.'}
            )
        except (FileNotFoundError, WeightsError, CheckpointError) as error:
            kind = type(error)
            raise kind(f'{error}. For a frozen expert: {EXPERT_REMEDY}') from error
        self._loaded = True

    def init_weights(self) -> None:
        """Read the weights now, so that a run without them stops before it starts."""
        self.encoder()

    def follow(self, sources: Mapping[str, nn.Module]) -> None:
        """Average the modules of objectives; never the encoder.

        Raises:
            InputError: an objective asks for an average, and there is no momentum for it.
        """
        asked = {k: v for k, v in sources.items() if k not in ('backbone', 'dense_norm')}
        if self.averages is not None:
            self.averages.follow(asked)
        elif asked:
            raise InputError(
                f'model.expert.momentum is None, so the frozen expert has no moving average of '
                f'the {", ".join(sorted(asked))}, which an objective reads; give a momentum, as '
                'in configs/pretrain/_base_/methods/saip-star-prototypes.py'
            )

    def modules_by_name(self) -> dict[str, nn.Module]:
        """Averages of modules of objectives; empty without a momentum."""
        return {} if self.averages is None else self.averages.modules_by_name()

    def copy_from_student(self) -> None:
        """Make the averages of modules of objectives equal to these."""
        if self.averages is not None:
            self.averages.copy_from_student()

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Move the averages; the encoder stays."""
        if self.averages is not None:
            self.averages.after_optimizer_step(progress, skipped)

    def scheduled(self, progress: Progress) -> dict[str, float]:
        """The momentum of the averages."""
        return {} if self.averages is None else self.averages.scheduled(progress)
