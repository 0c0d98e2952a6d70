"""Re-identification and attributes: one row per image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saip.deploy.program import Output, Program, check_size, image_input
from saip.deploy.tasks.finetuned import Finetuned, names_of, trained_size
from saip.structures import Grid


class ImageFeature(nn.Module):
    """What a ``saip.BNNeckHead`` predicts."""

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, h, w) -> image token (B, D)."""
        return (self.model.head.pre_logits(self.model.extract_feat(images)),)


class AttributeScores(nn.Module):
    """What a ``saip.AttributeHead`` predicts."""

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, h, w) -> probabilities (B, A)."""
        return (self.model.head(self.model.extract_feat(images)).sigmoid(),)


def reid_program(tuned: Finetuned, size: Grid | None) -> list[Program]:
    """Make the program of a ReID model."""
    feature = Output('feature', 'one vector per image, not normalized; compared by cosine')
    return [_program('reid', tuned, ImageFeature(tuned.model), feature, size, {})]


def attribute_program(tuned: Finetuned, size: Grid | None) -> list[Program]:
    """Make the program of an attribute model."""
    scores = Output('scores', 'probability of every attribute')
    about = {
        'attributes': names_of(tuned.dataset.get('classes')),
        'threshold': tuned.config['model']['head'].get('thr', 0.5),
    }
    network = AttributeScores(tuned.model)
    return [_program('attributes', tuned, network, scores, size, about)]


def _program(
    task: str,
    tuned: Finetuned,
    network: nn.Module,
    output: Output,
    size: Grid | None,
    about: dict,
) -> Program:
    patch = tuned.model.backbone.patch_stride
    checked = check_size(size or trained_size(tuned.config), patch)
    inputs = image_input(checked, tuned.resize)
    return Program(task, tuned.from_pixels(network), inputs, (output,), about)
