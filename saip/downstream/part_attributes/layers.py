"""Layers of attention, with the norm after each part."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class AttentionLayer(nn.Module):
    """Queries look at a memory, and a feed-forward network follows.

    Args:
        dims: channels of queries and memory.
        heads: of the attention.
        hidden: channels of the feed-forward network.
        dropout: of attention weights, results and hidden channels.
    """

    def __init__(self, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dims, heads, dropout, batch_first=True)
        self.attended = nn.LayerNorm(dims)
        self.feed_forward = nn.Sequential(
            nn.Linear(dims, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, dims),
        )
        self.fed = nn.LayerNorm(dims)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """(N, Q, dims) and (N, M, dims) -> (N, Q, dims)."""
        seen, _ = self.attention(queries, memory, memory, need_weights=False)
        queries = self.attended(queries + self.dropout(seen))
        return self.fed(queries + self.dropout(self.feed_forward(queries)))


def attend(layers: Iterable[nn.Module], queries: Tensor, memory: Tensor) -> Tensor:
    """Run queries through several layers that look at one memory."""
    for layer in layers:
        queries = layer(queries, memory)
    return queries
