"""The encoder of DALL-E's discrete VAE."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from saip.models.tokenizers.base import BaseTokenizer
from saip.registry import MODELS

EPSILON = 0.1
"""Pixels in [0, 1] are mapped to [0.1, 0.9], whose logit is finite (Ramesh et al., 2021)."""

GROUPS, BLOCKS = 4, 2


class _Block(nn.Module):
    """Four convolutions beside a shortcut, scaled by the inverse square of their number."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = outputs // 4
        self.gain = 1 / (GROUPS * BLOCKS) ** 2
        self.shortcut = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, kernel_size=1)
        )
        widths = (inputs, hidden, hidden, hidden)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, hidden, kernel_size=3, padding=1) for width in widths[:3]
        )
        self.convs.append(nn.Conv2d(hidden, outputs, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        branch = x
        for conv in self.convs:
            branch = conv(F.relu(branch))
        return self.shortcut(x) + self.gain * branch


@MODELS.register_module()
class DALLETokenizer(BaseTokenizer):
    """DALL-E's image tokenizer, the encoder alone (Ramesh et al., arXiv:2102.12092).

    Its weights are published as a pickled module; ``tools/model_converters/dalle_to_saip.py``
    turns them into plain tensors.

    Args:
        width: channels of the first group; each group has as many times more as its number says,
            in powers of two.
        num_codes: size of the codebook.
    """

    stride = 8

    def __init__(self, width: int = 256, num_codes: int = 8192) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.input = nn.Conv2d(3, width, kernel_size=7, padding=3)
        widths = [width, *(width * 2**i for i in range(GROUPS))]
        self.groups = nn.ModuleList(
            nn.Sequential(*(_Block(a if i == 0 else b, b) for i in range(BLOCKS)))
            for a, b in pairwise(widths)
        )
        self.output = nn.Conv2d(widths[-1], num_codes, kernel_size=1)

    def scores(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, num_codes, H / 8, W / 8)."""
        x = self.input((1 - 2 * EPSILON) * images + EPSILON)
        for number, group in enumerate(self.groups):
            x = F.max_pool2d(x, 2) if number else x
            x = group(x)
        return self.output(F.relu(x))
