"""Words of captions that a model has to guess."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SHARE = 0.15
"""Of the words that are chosen; of these 80 % are masked, 10 % become another word."""


class MaskedWords(NamedTuple):
    """Captions with words hidden, B of T ids each; M words are to be guessed.

    Attributes:
        ids: (B, T) the captions with masks and wrong words; a tensor of its own.
        places: (M,) where the words to guess lie in the flattened ``ids``.
        words: (M,) what stood there.
    """

    ids: Tensor
    places: Tensor
    words: Tensor


def mask_words(ids: Tensor, lengths: Tensor, mask: int) -> MaskedWords:
    """Hide words as BERT does: 15 % are chosen, of them 80 % masked, 10 % replaced, 10 % kept.

    Start and end of a text and the padding are never chosen. Of every caption with a word at least
    one is. Drawn on the host, by torch's global generator.

    Args:
        ids: (B, T) int64, on the CPU, which stay as they are.
        lengths: (B,) numbers of ids with start and end.
        mask: id of ``<|mask|>``; words have smaller ids.
    """
    place = torch.arange(ids.shape[1])
    is_word = (place > 0) & (place < lengths[:, None] - 1)
    chance = torch.rand(ids.shape).masked_fill(~is_word, 2.0)
    # The word with the smallest number is chosen in any case.
    first = chance == chance.amin(1, keepdim=True)
    chosen = is_word & ((chance < SHARE) | first)
    how = torch.rand(ids.shape)
    masked = chosen & (how < 0.8)
    replaced = chosen & (how >= 0.8) & (how < 0.9)
    hidden = ids.masked_fill(masked, mask)
    hidden = torch.where(replaced, torch.randint(1, mask, ids.shape), hidden)
    places = chosen.flatten().nonzero().squeeze(1)
    return MaskedWords(hidden, places, ids.flatten()[places])
