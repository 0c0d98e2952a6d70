"""What IRRA trains beside the common space: who it is, and which words are hidden.

Legend: B pairs, L image tokens, T ids of a caption, M hidden words, E width of the common space,
C identities, V ids.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.downstream.text_reid.loss import similarity_distribution_matching
from saip.downstream.text_reid.masking import MaskedWords
from saip.downstream.text_reid.transformer import TransformerBlock, activate
from saip.errors import InputError
from saip.models.ops.precision import widen
from saip.registry import MODELS


@MODELS.register_module()
class IRRAHead(BaseModule):
    """Losses of IRRA (Jiang and Ye, Cross-Modal Implicit Relation Reasoning and Aligning, 2023).

    All three count alike: ``loss_sdm`` between the images and captions of all processes,
    ``loss_id`` of one linear classifier on both, and ``loss_mlm`` of the hidden words.

    Args:
        num_classes: identities C of the training set.
        vocab_size: ids V.
        dims: E.
        heads: of each attention of the decoder.
        layers: blocks of the decoder.
        temperature: of the similarities.
    """

    def __init__(
        self,
        num_classes: int,
        vocab_size: int = 49_408,
        dims: int = 512,
        heads: int = 8,
        layers: int = 4,
        temperature: float = 0.02,
    ) -> None:
        super().__init__()
        if dims % heads:
            raise InputError(f'model.head.dims={dims} is no multiple of its {heads} heads')
        self.num_classes = num_classes
        self.temperature = temperature
        self.classifier = nn.Linear(dims, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)
        self.mlm = HiddenWords(vocab_size, dims, heads, layers)

    def loss(
        self,
        image_tokens: Tensor,
        texts: Tensor,
        masked_texts: Tensor,
        masked: MaskedWords,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """Return ``loss_sdm``, ``loss_id`` and ``loss_mlm``, each of shape ().

        Args:
            image_tokens: (B, 1 + L, E), that of the whole image first.
            texts: (B, E) features of the captions as they are.
            masked_texts: (B, T, E) rows of the captions with hidden words.
            masked: which words are hidden, on the device.
            labels: (B,) identities from 0 to C - 1.
        """
        images = image_tokens[:, 0]
        by_image, by_text = (
            F.cross_entropy(widen(self.classifier(x)), labels) for x in (images, texts)
        )
        logits = self.mlm(masked_texts, image_tokens, masked.places)
        return {
            'loss_sdm': similarity_distribution_matching(
                images, texts, labels, self.temperature
            ),
            'loss_id': (by_image + by_text) / 2,
            'loss_mlm': mean_over_processes(logits, masked.words),
        }


class HiddenWords(nn.Module):
    """Guesses words of a caption from its other words and the tokens of its image.

    The caption asks the image in one cross-attention, blocks of self-attention follow, and
    a perceptron names the words.

    Args:
        vocab_size: V.
        dims: E.
        heads: of each attention.
        layers: number of blocks.
    """

    def __init__(self, vocab_size: int, dims: int, heads: int, layers: int) -> None:
        super().__init__()
        self.text_norm, self.image_norm = nn.LayerNorm(dims), nn.LayerNorm(dims)
        self.attention = nn.MultiheadAttention(dims, heads, batch_first=True)
        self.blocks = nn.Sequential(
            *(
                TransformerBlock(dims, heads, layers, 'quick_gelu', causal=False)
                for _ in range(layers)
            )
        )
        self.norm = nn.LayerNorm(dims)
        self.head = WordHead(vocab_size, dims, layers)
        nn.init.normal_(self.attention.in_proj_weight, std=dims**-0.5)
        nn.init.normal_(self.attention.out_proj.weight, std=dims**-0.5 * (2 * layers) ** -0.5)

    def forward(self, texts: Tensor, image_tokens: Tensor, places: Tensor) -> Tensor:
        """Logits (M, V) of the ids at some places.

        Args:
            texts: (B, T, E).
            image_tokens: (B, 1 + L, E).
            places: (M,) indices of the B · T positions.
        """
        images = self.image_norm(image_tokens)
        asked, _ = self.attention(self.text_norm(texts), images, images, need_weights=False)
        rows = self.norm(self.blocks(asked)).flatten(0, 1)
        return self.head(rows[places])


class WordHead(nn.Module):
    """Perceptron that names words: (M, E) -> (M, V) logits."""

    def __init__(self, vocab_size: int, dims: int, layers: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dims, dims)
        self.norm = nn.LayerNorm(dims)
        self.words = nn.Linear(dims, vocab_size)
        nn.init.normal_(self.dense.weight, std=(2 * dims) ** -0.5)
        nn.init.normal_(self.words.weight, std=dims**-0.5 * (2 * layers) ** -0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """(M, E) -> (M, V)."""
        return self.words(self.norm(activate(self.dense(rows), 'quick_gelu')))


def mean_over_processes(logits: Tensor, words: Tensor) -> Tensor:
    """Cross-entropy whose mean over processes is the mean over all their hidden words, shape ().

    Args:
        logits: (M, V) of this process.
        words: (M,) its words; each process has another number of them.
    """
    count = torch.tensor(float(len(words)), device=logits.device)
    all_reduce(count, op='mean')
    return F.cross_entropy(widen(logits), words, reduction='sum') / count
