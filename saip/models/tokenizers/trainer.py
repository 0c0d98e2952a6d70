"""Training of a discrete VAE on crops."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from saip.errors import InputError
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.models.schedules import CosineSchedule, Schedule, build_schedule
from saip.models.tokenizers.discrete_vae import DiscreteVAE
from saip.registry import MODELS
from saip.structures import Progress, Views


@MODELS.register_module()
class TokenizerTrainer(BaseModel):
    """Trains a ``saip.DiscreteVAE`` to reconstruct a view.

    Log: the two losses, ``codes`` (how many codes the batch uses) and ``temperature``. A use that
    falls far below the number of codes means a codebook that collapses: raise
    ``diversity_weight``.

    Args:
        tokenizer: configuration of the discrete VAE.
        data_preprocessor: the view recipe.
        view: which view is reconstructed.
        temperature: of the Gumbel-softmax, a number or a schedule.
        diversity_weight: see :meth:`saip.models.tokenizers.DiscreteVAE.losses`.

    Raises:
        InputError: the recipe does not make the view.
    """

    data_preprocessor: ViewsPreprocessor

    def __init__(
        self,
        tokenizer: dict[str, Any],
        data_preprocessor: dict[str, Any],
        view: str = 'crop',
        temperature: float | dict[str, Any] | Schedule | None = None,
        diversity_weight: float = 0.01,
    ) -> None:
        views = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=views)
        if view not in views.recipe.names:
            raise InputError(
                f'model.view={view!r}: model.data_preprocessor.views makes '
                f'{", ".join(views.recipe.names) or "none"}'
            )
        views.select([view])
        self.view = view
        self.tokenizer: DiscreteVAE = MODELS.build(dict(tokenizer))
        given = CosineSchedule(1.0, 1 / 16) if temperature is None else temperature
        self.temperature = build_schedule(given)
        self.diversity_weight = diversity_weight
        self._progress: Progress | None = None

    def begin_step(self, progress: Progress) -> None:
        """Begin a micro-batch: its views can be drawn once from now on."""
        self._progress = progress
        self.data_preprocessor.begin_step(progress)

    def before_optimizer_step(self) -> None:
        """Nothing changes."""

    def after_optimizer_step(self, skipped: Tensor) -> None:
        """Nothing moves."""

    def after_micro_batch(self) -> None:
        """Nothing moves."""

    def scheduled(self) -> dict[str, float]:
        """The temperature, for the log."""
        return {} if self._progress is None else {'temperature': self._at()}

    def _at(self) -> float:
        if self._progress is None:
            raise RuntimeError('the model was not told where in the run it is')
        return self.temperature(self._progress)

    def pixels(self, images: Tensor) -> Tensor:
        """Normalized images -> images in [0, 1]."""
        views = self.data_preprocessor
        return ((images * views.std + views.mean) / 255).clamp(0, 1)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """``loss``: losses of a batch of views; ``tensor``: (B, h, w) codes of images."""
        if mode == 'loss':
            views: Views = inputs
            images = self.pixels(views[self.view].images)
            return self.tokenizer.losses(images, self._at(), self.diversity_weight)
        with torch.no_grad():
            return self.tokenizer.codes(self.pixels(inputs))
