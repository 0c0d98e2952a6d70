"""A discrete VAE that can be trained on one's own images.

Legend: B images, K codes, (h, w) cells.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.ops.precision import full_precision, widen
from saip.models.tokenizers.base import BaseTokenizer
from saip.registry import MODELS


class _Residual(nn.Module):
    """Three convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


@MODELS.register_module()
class DiscreteVAE(BaseTokenizer):
    """Encoder, codebook and decoder with a Gumbel-softmax between them (arXiv:2102.12092).

    Three convolutions of stride 2 make cells of 8 pixels, so that an image of half the size has a
    code for every patch of 16 pixels. Any size that is a multiple of 8 is taken.

    Args:
        num_codes: size K of the codebook.
        code_dims: width of a code.
        width: channels of encoder and decoder.
        depth: residual blocks of each.

    Raises:
        InputError: there are fewer than two codes.
    """

    stride = 8

    def __init__(
        self, num_codes: int = 2048, code_dims: int = 256, width: int = 128, depth: int = 2
    ) -> None:
        super().__init__()
        if num_codes < 2:
            raise InputError(f'tokenizer.num_codes={num_codes}: at least 2 codes are needed')
        self.num_codes = num_codes
        down: list[nn.Module] = []
        for channels in (3, width, width):
            down += [nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(
            *down,
            *(_Residual(width) for _ in range(depth)),
            nn.Conv2d(width, num_codes, kernel_size=1),
        )
        self.codebook = nn.Embedding(num_codes, code_dims)
        up: list[nn.Module] = []
        for _ in range(3):
            up += [
                nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1),
                nn.ReLU(),
            ]
        self.decoder = nn.Sequential(
            nn.Conv2d(code_dims, width, kernel_size=1),
            *(_Residual(width) for _ in range(depth)),
            *up,
            nn.Conv2d(width, 3, kernel_size=1),
        )

    def scores(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, K, H / 8, W / 8)."""
        return self.encoder(2 * images - 1)

    def reconstruct(self, weights: Tensor) -> Tensor:
        """(B, K, h, w) weights of the codes -> (B, 3, 8 h, 8 w) images in about [-1, 1]."""
        table = self.codebook.weight
        cells = torch.einsum('bkhw,kd->bdhw', weights.to(table.dtype), table)
        return self.decoder(cells)

    def losses(
        self, images: Tensor, temperature: float | Tensor, diversity_weight: float
    ) -> dict[str, Tensor]:
        """Losses of a batch of images in [0, 1].

        Args:
            images: (B, 3, H, W).
            temperature: of the Gumbel-softmax.
            diversity_weight: of the divergence between the mean use of the codes and equal use.

        Returns:
            ``loss_reconstruction`` (squared error at [-1, 1]), ``loss_diversity`` (weighted), and
            ``codes``, how many codes are the best one of a cell of the batch.
        """
        scores = self.scores(images)
        with full_precision(images.device):
            wide = widen(scores)
            noise = -torch.empty_like(wide).exponential_().log()
            weights = ((wide + noise) / temperature).softmax(1)
            used = wide.softmax(1).mean((0, 2, 3))
            entropy = -(used * used.clamp(min=1e-12).log()).sum()
            diversity = math.log(self.num_codes) - entropy
        error = F.mse_loss(self.reconstruct(weights).float(), 2 * images.float() - 1)
        with torch.no_grad():
            seen = torch.zeros(self.num_codes, device=images.device)
            codes = seen.index_fill_(0, scores.argmax(1).flatten(), 1.0).sum()
        return {
            'loss_reconstruction': error,
            'loss_diversity': diversity_weight * diversity,
            'codes': codes,
        }
