"""What a tokenizer provides."""

from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor


class BaseTokenizer(BaseModule):
    """A network that makes a grid of discrete codes of an image.

    Attributes:
        num_codes: size of the codebook.
        stride: pixels per code along a side.
    """

    num_codes: int
    stride: int

    @abstractmethod
    def scores(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, num_codes, h, w) scores of the codes."""

    def codes(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, h, w) int64, the best code of each cell."""
        return self.scores(images).argmax(1)
