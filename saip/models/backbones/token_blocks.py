"""Blocks of a plain encoder on the tokens of several requests at once.

Legend: b images and T tokens of one request, N tokens of all, D width, H heads, d = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.compiling import Compilable
from saip.models.backbones.token_pack import Modulations, TokenPack
from saip.models.ops.attention import Biases, attend, attend_within, split_heads
from saip.models.ops.joined_attention import attend_joined, can_join
from saip.models.ops.plain_layers import are_plain
from saip.models.ops.regions import add_branch, affine, close_block, normed_linear
from saip.structures import EncodeRequest, Relations


def run_block(
    encoder: Compilable, layer: Any, pack: TokenPack, modulation: Modulations, biases: Biases
) -> None:
    """Advance all packed tokens by one block of an encoder, in place of the pack's rows."""
    norm, qkv = layer.ln1, layer.attn.qkv
    if encoder.compiles and modulation is None:
        packed = encoder.run(normed_linear, pack.rows, affine(norm), norm.eps, affine(qkv))
    else:  # by the layers themselves, whose names an exported graph shows
        packed = qkv(pack.normed(norm, pack.rows, modulation))
    heads = layer.attn.num_heads
    if encoder.compiles and can_join(packed, heads) and all(bias is None for bias in biases):
        longest = max(tokens for _, tokens in pack.shapes)
        attended = attend_joined(packed, pack.starts, longest, heads)
    else:
        attended = attend_within(packed, pack.shapes, heads, biases)
    pack.rows = residuals(encoder, layer, pack, attended, modulation)


def residuals(
    encoder: Compilable, layer: Any, pack: TokenPack, attended: Tensor, modulation: Modulations
) -> Tensor:
    """Both residual branches of a block after its attention; (N, D) -> (N, D)."""
    rows, proj, norm = pack.rows, layer.attn.proj, layer.ln2
    rate = layer.attn.out_drop.drop_prob if layer.training else 0.0
    kept = [pack.kept(rate) for _ in range(2)] if rate else [None, None]
    gains = [getattr(gain, 'weight', None) for gain in (layer.attn.gamma1, layer.ffn.gamma2)]
    first, second = layer.ffn.layers[0][0], layer.ffn.layers[1]
    in_training = layer.training and torch.is_grad_enabled()
    if modulation is None and (
        encoder.compiles or (in_training and are_plain(proj, first, second))
    ):
        layers = affine(proj), affine(norm), norm.eps, affine(first), affine(second)
        return encoder.run(close_block, rows, attended, *layers, tuple(gains), tuple(kept))
    # By the layers themselves, whose names an exported graph shows.
    rows = add_branch(rows, proj(attended), gains[0], kept[0])
    branch = layer.ffn.layers(pack.normed(norm, rows, modulation))
    return add_branch(rows, branch, gains[1], kept[1])


def run_last_block(
    encoder: Compilable,
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
    weight, bias = affine(layer.attn.qkv)
    normed_rows = pack.normed(layer.ln1, pack.rows, modulation)
    normed = pack.split(normed_rows)
    keys_values = pack.split(F.linear(normed_rows, weight[dims:], bias[dims:]))
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
        key, value = (split_heads(x, number) for x in kv.chunk(2, -1))
        query = split_heads(query, number)
        relations.append(
            _relations(query, key, value, near) if request.outputs.relations else None
        )
        wanted = None if request.outputs.patch_tokens else 1
        near = None if near is None else near[:, :, :wanted]
        out = attend(query[:, :, :wanted], key, value, near)
        attended.append(out.transpose(1, 2).flatten(2))
        residual.append(tokens[:, :wanted])
    final = TokenPack(residual)
    final.rows = residuals(encoder, layer, final, TokenPack(attended).rows, modulation)
    return final, relations


def _relations(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Relations:
    """softmax(q k^T / sqrt(d) + bias) and softmax(v v^T / sqrt(d)), each (b, H, T, T)."""
    scale = query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) * scale
    return Relations(
        (scores if bias is None else scores + bias).softmax(-1),
        (value @ value.transpose(-1, -2) * scale).softmax(-1),
    )
