"""Blocks of a plain encoder on the tokens of several requests at once.

Legend: b images and T tokens of one request, N tokens of all, D width, H heads, d = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.backbones.token_pack import Modulations, TokenPack
from saip.models.ops.attention import attend
from saip.structures import EncodeRequest, Relations

Biases = list[Tensor | None]
"""What is added to the scores of attention, (b or 1, H, T, T) per request; None for nothing."""


def heads(rows: Tensor, number: int) -> Tensor:
    """(b, T, D) -> (b, H, T, d)."""
    return rows.unflatten(-1, (number, -1)).transpose(1, 2)


def run_block(layer: Any, pack: TokenPack, modulation: Modulations, biases: Biases) -> None:
    """Advance all packed tokens by one block, in place of the pack's rows."""
    number = layer.attn.num_heads
    parts = pack.split(layer.attn.qkv(pack.normed(layer.ln1, pack.rows, modulation)))
    attended = []
    for part, bias in zip(parts, biases, strict=True):
        query, key, value = (heads(x, number) for x in part.chunk(3, -1))
        attended.append(attend(query, key, value, bias))
    rows = torch.cat([x.transpose(1, 2).flatten(0, 1).flatten(1) for x in attended])
    pack.rows = residuals(layer, pack, rows, modulation)


def residuals(layer: Any, pack: TokenPack, attended: Tensor, modulation: Modulations) -> Tensor:
    """Both residual branches of a block after its attention; (N, D) -> (N, D)."""
    rows = pack.rows
    rate = layer.attn.out_drop.drop_prob if layer.training else 0.0
    branch = layer.attn.gamma1(layer.attn.proj(attended))
    rows = rows + (pack.drop_path(branch, rate) if rate else branch)
    branch = layer.ffn.gamma2(layer.ffn.layers(pack.normed(layer.ln2, rows, modulation)))
    return rows + (pack.drop_path(branch, rate) if rate else branch)


def run_last_block(
    layer: Any,
    pack: TokenPack,
    requests: list[EncodeRequest],
    modulation: Modulations,
    biases: Biases,
) -> tuple[TokenPack, list[Relations | None]]:
    """Run the last block, for the image token alone where the patches are not read.

    Returns:
        Tokens before the final norm, and relations, per request.
    """
    dims, number = layer.attn.embed_dims, layer.attn.num_heads
    weight, bias = layer.attn.qkv.weight, layer.attn.qkv.bias
    normed = pack.split(pack.normed(layer.ln1, pack.rows, modulation))
    keys_values = pack.split(
        F.linear(torch.cat([x.flatten(0, 1) for x in normed]), weight[dims:], bias[dims:])
    )
    asking = [
        x if r.outputs.patch_tokens or r.outputs.relations else x[:, :1]
        for x, r in zip(normed, requests, strict=True)
    ]
    query_pack = TokenPack(asking)
    queries = query_pack.split(F.linear(query_pack.rows, weight[:dims], bias[:dims]))
    attended, relations, residual = [], [], []
    for request, tokens, query, kv, near in zip(
        requests, pack.split(pack.rows), queries, keys_values, biases, strict=True
    ):
        key, value = (heads(x, number) for x in kv.chunk(2, -1))
        query = heads(query, number)
        relations.append(
            _relations(query, key, value, near) if request.outputs.relations else None
        )
        wanted = None if request.outputs.patch_tokens else 1
        near = None if near is None else near[:, :, :wanted]
        out = attend(query[:, :, :wanted], key, value, near)
        attended.append(out.transpose(1, 2).flatten(2))
        residual.append(tokens[:, :wanted])
    final = TokenPack(residual)
    final.rows = residuals(layer, final, TokenPack(attended).rows, modulation)
    return final, relations


def _relations(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Relations:
    """softmax(q k^T / sqrt(d) + bias) and softmax(v v^T / sqrt(d)), each (b, H, T, T)."""
    scale = query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) * scale
    return Relations(
        (scores if bias is None else scores + bias).softmax(-1),
        (value @ value.transpose(-1, -2) * scale).softmax(-1),
    )
