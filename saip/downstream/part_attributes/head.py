"""KE-RCNN's head: attributes of a garment from its features, its wearer's, and what is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.datasets.fashionpedia import CATEGORIES, NUM_ATTRIBUTES
from saip.errors import InputError
from saip.registry import MODELS

from .layers import AttentionLayer, attend


class Regions(NamedTuple):
    """Garments of several images.

    Attributes:
        parts: (R, C, s, s) features of their boxes.
        humans: (R, C, S, S) features of the boxes of their wearers.
        offsets: (R, 4) where a box is in its wearer's, see :func:`box_offsets`.
        probabilities: (R, 46) of the categories.
        labels: (R,) the category that says which attributes may be asked for.
    """

    parts: Tensor
    humans: Tensor
    offsets: Tensor
    probabilities: Tensor
    labels: Tensor


@MODELS.register_module()
class KEHead(BaseModule):
    """Logits of attributes by KE-RCNN.

    - Half of a garment's features go through a convolution; the other half are queries that look
      at the features of the whole person. Each cell is a token, and the box is one more.
    - Knowledge K (categories x attributes, 0 to 1) makes a token for each attribute: the sum of
      the classifier's weights of all categories, times K and their probabilities, and two layers.
    - A query for each attribute is learned; those that the garment's category never has (K is 0)
      are zeros. Queries and tokens attend to each other, then queries to tokens.

    The loss is the weighted mean of the binary cross-entropy over garments and all attributes.
    ``knowledge`` and ``attribute_ids`` are kept in the weights; ``saip.KnowledgeHook`` fills them
    when a training begins.

    Args:
        in_channels: of the features; both halves are multiples of ``heads`` and ``groups``.
        class_channels: of the classifier's weights.
        channels: of tokens and queries.
        heads: of all attention.
        part_hidden: feed-forward channels where a garment looks at its wearer.
        hidden: feed-forward channels of the other layers.
        layers: of each of the three kinds of attention.
        groups: of the norm after the convolution.
        dropout: of the attention layers.
        loss_weight: of the loss.
        init_cfg: only for initializers.
    """

    knowledge: Tensor
    attribute_ids: Tensor

    def __init__(
        self,
        in_channels: int = 256,
        class_channels: int = 1024,
        channels: int = 256,
        heads: int = 8,
        part_hidden: int = 128,
        hidden: int = 512,
        layers: int = 2,
        groups: int = 4,
        dropout: float = 0.1,
        loss_weight: float = 5.0,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        half = in_channels // 2
        if in_channels % 2 or half % heads or half % groups or channels % heads:
            raise InputError(
                f'saip.KEHead: in_channels={in_channels}, channels={channels}; half of the former, '
                f'and the latter, have to be multiples of heads={heads}, and half of the former of '
                f'groups={groups}'
            )
        self.loss_weight = loss_weight
        self.own = nn.Sequential(
            nn.Conv2d(in_channels - half, half, 3, padding=1, bias=False),
            nn.GroupNorm(groups, half),
            nn.ReLU(inplace=True),
        )
        self.human = nn.Conv2d(in_channels, half, 1)
        self.in_human = _layers(layers, half, heads, part_hidden, dropout)
        self.cells = nn.Linear(2 * half, channels)
        self.place = nn.Linear(4, channels)
        self.from_classes = nn.Linear(class_channels, channels)
        self.known = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(channels, channels))
        self.embedding = nn.Embedding(NUM_ATTRIBUTES, channels)
        self.ask = nn.Linear(channels, channels)
        self.among_all = _layers(layers, channels, heads, hidden, dropout)
        self.from_queries = _layers(layers, channels, heads, hidden, dropout)
        self.classifier = nn.Parameter(torch.zeros(NUM_ATTRIBUTES, channels))
        self.register_buffer('knowledge', torch.zeros(len(CATEGORIES), NUM_ATTRIBUTES))
        self.register_buffer('attribute_ids', torch.full((NUM_ATTRIBUTES,), -1))

    def init_weights(self) -> None:
        """Initialize so that every attribute is about as probable as not."""
        super().init_weights()
        nn.init.normal_(self.classifier, std=0.01)

    @property
    def has_knowledge(self) -> bool:
        """Whether a training or weights have filled ``knowledge``; waits for the device."""
        return bool((self.attribute_ids >= 0).all())

    def forward(self, regions: Regions, class_weights: Tensor) -> Tensor:
        """Return the logits (R, 294).

        Args:
            regions: R garments.
            class_weights: (46, class_channels) of the classifier of boxes; not learned here.
        """
        tokens = torch.cat(
            [
                self._cells(regions),
                self.place(regions.offsets)[:, None],
                self._knowledge_tokens(regions.probabilities, class_weights),
            ],
            dim=1,
        )
        queries = self._queries(regions.labels)
        both = torch.cat([queries, tokens], dim=1)
        for layer in self.among_all:
            both = layer(both, both)
        queries, tokens = both.split([queries.shape[1], tokens.shape[1]], dim=1)
        answers = attend(self.from_queries, queries, tokens)
        return (answers * self.classifier).sum(dim=-1)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Weighted binary cross-entropy.

        Args:
            logits: (R, 294).
            targets: (R, 294) bool.
        """
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets.float())
        return self.loss_weight * loss

    def _cells(self, regions: Regions) -> Tensor:
        """A token (R, s * s, channels) for each cell of a garment."""
        own, asking = regions.parts.chunk(2, dim=1)
        person = self.human(regions.humans).flatten(2).mT
        seen = attend(self.in_human, asking.flatten(2).mT, person)
        return self.cells(torch.cat([self.own(own).flatten(2).mT, seen], dim=-1))

    def _knowledge_tokens(self, probabilities: Tensor, class_weights: Tensor) -> Tensor:
        """A token (R, 294, channels) for each attribute.

        The first layer goes over the weights before they are added up, which is the same sum: it is
        46 times 1024 numbers then, not 294 times 1024 for each garment.
        """
        classes = F.linear(class_weights.detach(), self.from_classes.weight)
        shares = probabilities[:, None] * self.knowledge.T
        return self.known(shares @ classes + self.from_classes.bias)

    def _queries(self, labels: Tensor) -> Tensor:
        """Queries (R, 294, channels), zeros for attributes that the categories never have."""
        possible = self.knowledge[labels] > 0
        return self.ask(self.embedding.weight) * possible[..., None]


def box_offsets(boxes: Tensor, humans: Tensor) -> Tensor:
    """Where boxes are in the boxes of people, (R, 4).

    Distance of the centers in widths and heights of the person, and logarithms of the ratios of
    widths and heights. Sides count as a pixel at least.

    Args:
        boxes: (R, 4) corners x0, y0, x1, y1.
        humans: (R, 4) corners.
    """
    (center, sides), (middle, extent) = _parts_of(boxes), _parts_of(humans)
    return torch.cat([(center - middle) / extent, (sides / extent).log()], dim=1)


def _parts_of(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centers and sides, (R, 2) each."""
    first, last = boxes[:, :2], boxes[:, 2:]
    return (first + last) / 2, (last - first).clamp(min=1)


def _layers(number: int, dims: int, heads: int, hidden: int, dropout: float) -> nn.ModuleList:
    return nn.ModuleList(AttentionLayer(dims, heads, hidden, dropout) for _ in range(number))
