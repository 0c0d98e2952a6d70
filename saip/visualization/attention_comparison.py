"""Where several encoders look, one row for each, with the share that falls on the person.

The form of the paper's Figures 1 and 5: one person at two scales, and a crowd. All rows see the
same images at the same sizes; maps are means over the heads, and of a column all maps have one
scale of brightness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from saip.visualization.attention import (
    BRIGHT,
    WIDEST,
    attention_of,
    cell_of,
    prepare,
    scaled_size,
)

if TYPE_CHECKING:
    from saip.models.backbones import BaseEncoder

ATTENTION = 'attention of the image token'
SIMILARITY = 'similarity of patches to their mean'


@dataclass(frozen=True)
class Row:
    """An encoder to compare.

    Attributes:
        name: of its row.
        encoder: the encoder.
        statistics: ``mean`` and ``std`` of RGB in 0..255 that it expects.
        about: plain values for the record, such as the file and which network of it this is.
    """

    name: str
    encoder: BaseEncoder
    statistics: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def map_name(self) -> str:
        """What its maps show, in words."""
        return ATTENTION if self.encoder.has_relations else SIMILARITY


@dataclass(frozen=True)
class Subject:
    """An image, and (H, W) bool where the people are; None if that is not known."""

    image: Image.Image
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Column:
    """Images that all encoders see at one size.

    Attributes:
        title: above the column.
        size: (h, w) of the encoders' input, in whole cells of every encoder.
        subjects: the first is drawn, all are measured.
    """

    title: str
    size: tuple[int, int]
    subjects: Sequence[Subject]

    @property
    def is_masked(self) -> bool:
        """Whether the share inside of masks can be measured."""
        return all(subject.mask is not None for subject in self.subjects)


@dataclass(frozen=True)
class Compared:
    """Maps and shares of all rows and columns.

    Attributes:
        maps: by row and column the (h, w) map of the drawn image, its mean 1.
        shares: by row and column the share of a map inside of the masks, the mean over the
            images; None without masks.
        areas: by column the share of the images that the masks cover, which an even map would
            give.
    """

    maps: list[list[Tensor]]
    shares: list[list[float | None]]
    areas: list[float | None]

    def brightest(self, column: int) -> float:
        """The value that is drawn at full brightness in all rows of a column.

        What 2 % of the cells of all rows exceed, but at least twice the average.
        """
        pooled = torch.cat([row[column].flatten() for row in self.maps])
        return max(BRIGHT, float(pooled.quantile(0.98)))


Titled = tuple[str, Sequence[Subject]]


def make_columns(
    rows: Sequence[Row],
    persons: Sequence[Titled],
    crowds: Sequence[Titled],
    scales: Sequence[float],
) -> list[Column]:
    """Columns for persons at several scales, and for crowds.

    Args:
        rows: the encoders; the first says at which size a person is seen, and the one with the
            largest cells to what sizes are rounded.
        persons: titles and crops of single persons.
        crowds: titles and images of several people. Their shorter side becomes as long as the
            height at which a person is seen.
        scales: of the size of a person.
    """
    coarsest = max((row.encoder for row in rows), key=cell_of)
    height, width = rows[0].encoder.img_size
    columns = []
    for title, subjects in persons:
        for scale in scales:
            size = scaled_size(coarsest, scale, (height, width))
            columns.append(Column(title, size, subjects))
    for title, subjects in crowds:
        image = subjects[0].image
        factor = 1 / min(image.size)
        shape = (
            min(round(height * image.height * factor), WIDEST * height),
            min(round(height * image.width * factor), WIDEST * height),
        )
        columns.append(Column(title, scaled_size(coarsest, 1.0, shape), subjects))
    return columns


def compare_attention(rows: Sequence[Row], columns: Sequence[Column]) -> Compared:
    """Look at all images with all encoders."""
    maps: list[list[Tensor]] = []
    shares: list[list[float | None]] = []
    for row in rows:
        own = [[attention_map(row, s.image, c.size) for s in c.subjects] for c in columns]
        maps.append([found[0] for found in own])
        shares.append(
            [_mean_share(found, column) for found, column in zip(own, columns, strict=True)]
        )
    even = torch.ones(1, 1)
    areas = [_mean_share([even] * len(c.subjects), c) for c in columns]
    return Compared(maps, shares, areas)


@torch.no_grad()
def attention_map(row: Row, image: Image.Image, size: tuple[int, int]) -> Tensor:
    """(h, w) in cells, its mean 1: attention of the image token, or the similarity.

    Attention is the last block's, the mean over its heads. Of encoders without attention over all
    tokens the cosine of each final patch token and the mean of all of them is taken, negative ones
    as 0, whatever their own :meth:`attention_map` shows, so that they can be compared. A map that
    is 0 everywhere stays so.
    """
    if row.encoder.has_relations:
        found = attention_of(row.encoder, image, size, row.statistics).mean(0)
    else:
        found = _similarity(row, image, size)
    return found / found.mean().clamp(min=1e-12)


def _similarity(row: Row, image: Image.Image, size: tuple[int, int]) -> Tensor:
    encoder = row.encoder
    was_training = encoder.training
    device = next(encoder.parameters()).device
    output = encoder.eval().encode(prepare(image, size, row.statistics).to(device))
    encoder.train(was_training)
    tokens = output.require_patch_tokens()[0].float().cpu()
    alike = F.cosine_similarity(tokens, tokens.mean(0, keepdim=True), dim=-1)
    return alike.clamp(min=0).unflatten(0, output.grid)


def _mean_share(maps: Sequence[Tensor], column: Column) -> float | None:
    if not column.is_masked:
        return None
    shares = [
        share_inside(weights, subject.mask, column.size)
        for weights, subject in zip(maps, column.subjects, strict=True)
        if subject.mask is not None
    ]
    return sum(shares) / len(shares)


def share_inside(weights: Tensor, mask: np.ndarray, size: tuple[int, int]) -> float:
    """Share of a map that falls on a mask, a cell that is covered in part counting in part.

    Args:
        weights: (h, w) in cells, not negative; a map of zeros counts as an even one.
        mask: (H, W) bool.
        size: of the encoder's input, whole cells; the mask is brought to it as the image was.
    """
    area = Image.fromarray(mask.astype(np.float32)).resize(size[::-1], Image.Resampling.BOX)
    pixels = torch.from_numpy(np.array(area))[None, None]
    cell = (size[0] // weights.shape[0], size[1] // weights.shape[1])
    cover = F.avg_pool2d(pixels, cell)[0, 0]
    total = float(weights.sum())
    return float((weights * cover).sum()) / total if total > 0 else float(cover.mean())
