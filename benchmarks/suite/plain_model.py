"""The losses of preset ``saip`` as such steps are usually written: the slow peer.

One call of the encoder per view, attention by its formula, every token through every block, one
log-softmax per pair of views, every patch predicted, every query with a decoder pass of its own.
It reads the weights of a model of this project and nothing of its forward pass.

Legend: B images, T tokens, K kept patches, L patches, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saip.structures import PatchMask, View, Views

Grid = tuple[int, int]
Features = tuple[Tensor, Tensor]
"""Tokens (B, T, D) after the final norm, and those at the feature level."""


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v on (B, T, D) tensors, map stored."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def positions(rows: Tensor, source: Grid, grid: Grid) -> Tensor:
    """(L, D) embeddings, interpolated where the grid is another one."""
    if tuple(source) == tuple(grid):
        return rows
    maps = rows.T.reshape(1, -1, *source)
    maps = F.interpolate(maps, size=tuple(grid), mode='bicubic', align_corners=False)
    return maps.flatten(2)[0].T


def encode(encoder: Any, view: View, chunk: Tensor | None = None) -> Features:
    """All blocks of a plain vision transformer on one view; a masked one stops where it is read."""
    images = view.images if chunk is None else chunk
    maps = encoder.patch_embed.projection(images)
    tokens = maps.flatten(2).transpose(1, 2)
    rows = positions(encoder.pos_embed[0, 1:], encoder.patch_resolution, maps.shape[-2:])
    tokens = tokens + rows
    if view.mask is not None:
        tokens = take(tokens, view.mask.keep)
    first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    x = torch.cat([first, tokens], 1)
    dense = x
    for index, layer in enumerate(encoder.layers):
        query, key, value = layer.attn.qkv(layer.ln1(x)).chunk(3, -1)
        x = x + layer.attn.proj(attention(query, key, value, layer.attn.num_heads))
        x = x + layer.ffn.layers(layer.ln2(x))
        if index == encoder.feature_level:
            dense = x
            if view.mask is not None:
                break
    return encoder.ln1(x), dense


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """(B, S) of (B, L, D) tokens."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))


def encode_all(encoder: Any, views: Views, names: list[str]) -> dict[str, list[Features]]:
    """One call per view; local crops, which are one entry, are as many views as they are crops."""
    batch = min(len(views[name].images) for name in names)
    found = {}
    for name in names:
        view = views[name]
        if view.mask is not None:
            found[name] = [encode(encoder, view)]
            continue
        found[name] = [encode(encoder, view, part) for part in view.images.split(batch)]
    return found


def project(neck: Any, tokens: Tensor) -> Tensor:
    """Image tokens (n, D) to cosines with the prototypes."""
    x = F.normalize(neck.mlp(tokens), dim=-1)
    return x @ F.normalize(neck.prototypes, dim=-1).T


def match(csm: Any, neck: Any, student: dict, expert: dict) -> tuple[Tensor, Tensor]:
    """DINO's loss in two loops, and the mean target score, which the center follows."""
    ours = [(n, f[0][:, 0]) for n in csm.student_inputs() for f in student[n]]
    theirs = [(n, f[0][:, 0]) for n in csm.expert_inputs() for f in expert[n]]
    head = csm.head
    with torch.no_grad():
        scores = project(neck, torch.cat([x for _, x in theirs]))
        targets = ((scores - head.center) / head.teacher_temp).softmax(-1).chunk(len(theirs))
    predictions = (
        project(csm.neck, torch.cat([x for _, x in ours])) / head.student_temp
    ).chunk(len(ours))
    loss, pairs = 0.0, 0
    for (name, _), target in zip(theirs, targets, strict=True):
        for (other, _), prediction in zip(ours, predictions, strict=True):
            if name == other:
                continue
            loss = loss + (-target * F.log_softmax(prediction, -1)).sum(-1).mean()
            pairs += 1
    return loss / pairs, scores.mean(0, keepdim=True)


def feed_forward(block: Any, x: Tensor) -> Tensor:
    """The second residual branch of a decoder's block."""
    return x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))


def attend_self(block: Any, x: Tensor) -> Tensor:
    """The first residual branch of a decoder's block, all tokens."""
    query, key, value = block.attn.qkv(block.norm1(x)).chunk(3, -1)
    return x + block.attn.proj(attention(query, key, value, block.attn.num_heads))


def attend_cross(block: Any, x: Tensor, memory: Tensor) -> Tensor:
    """Cross-attention to a memory, then the feed-forward layer."""
    layer: nn.MultiheadAttention = block.attn
    weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    inputs = (block.norm1(x), memory, memory)
    query, key, value = (
        F.linear(i, w, b) for i, w, b in zip(inputs, weights, biases, strict=True)
    )
    x = x + layer.out_proj(attention(query, key, value, layer.num_heads))
    return feed_forward(block, x)


def restore(visible: Tensor, token: Tensor, mask: PatchMask) -> Tensor:
    """(B, K, D) -> (B, L, D), the mask token in the gaps."""
    gaps = token.expand(len(visible), mask.restore.shape[1] - visible.shape[1], -1)
    return take(torch.cat([visible, gaps], 1), mask.restore)


def reconstruct(csr: Any, norm: Callable, student: dict, views: Views) -> Tensor:
    """MAE's loss: all patches predicted, the hidden ones weighted 1."""
    neck, head = csr.neck, csr.head
    images, mask = views['masked'].images, views['masked'].mask
    anchor, hidden = (norm(student[name][0][1]) for name in ('anchor', 'masked'))
    side = head.patch_size
    grid = (images.shape[-2] // side, images.shape[-1] // side)
    rows = neck.pos_embed[0, 1:]
    x = restore(neck.embed(hidden[:, 1:]), neck.mask_token, mask)
    x = x + positions(rows, neck.grid, grid)
    memory = neck.memory_norm(neck.embed(anchor[:, 1:]) + rows)
    for block in neck.blocks:
        x = attend_cross(block.cross, attend_self(block, x), memory)
    predicted = neck.predict(neck.norm(x))
    patches = images.unflatten(-1, (grid[1], side)).unflatten(-3, (grid[0], side))
    patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (B, L, side² * 3)
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    target = (patches - mean) / (variance + 1e-6) ** 0.5
    weight = torch.ones_like(patches[..., 0]).scatter_(1, mask.keep, 0.0)
    return (((predicted - target) ** 2).mean(-1) * weight).sum() / weight.sum()


def search(css: Any, norm: Callable, student: dict, scene: Tensor, views: Views) -> Tensor:
    """One pass of the decoder per query."""
    neck, masks = css.neck, views.targets['scene_masks']
    size = views['scene'].images.shape[-2:]
    side = int((size.numel() / (scene.shape[1] - 1)) ** 0.5)
    grid = (size[0] // side, size[1] // side)
    loss = 0.0
    for number, name in enumerate(css.queries):
        x = neck.query_embed(norm(student[name][0][1]))
        for block in neck.self_blocks:
            x = feed_forward(block, attend_self(block, x))
        keys = neck.key_norm(neck.key_embed(scene[:, 1:]))
        x = attend_cross(neck.cross_block, x[:, :1], keys)
        maps = neck.mask_head(scene[:, 1:].transpose(1, 2).unflatten(-1, grid))
        logits = (neck.kernel(neck.query_norm(x)) @ maps.flatten(2)).unflatten(-1, grid)
        covered = F.adaptive_avg_pool2d(masks[:, number : number + 1], grid) >= 0.5
        loss = loss + F.binary_cross_entropy_with_logits(logits, covered.to(logits.dtype))
    return loss


def losses(model: Any, views: Views) -> tuple[dict[str, Tensor], Tensor]:
    """The losses of a model of preset ``saip``, and the mean target score."""
    csm, csr, css = (model.objectives[name] for name in ('csm', 'csr', 'css'))
    twins = dict(model.expert.named_children())
    with torch.no_grad():
        expert = encode_all(twins['backbone'], views, list(model.expert_inputs))
        scene = twins['dense_norm'](expert['scene'][0][1])
    student = encode_all(model.backbone, views, list(model.student_inputs))
    matched, mean = match(csm, twins['csm_projector'], student, expert)
    norm = model.dense_norm
    return {
        'loss_csm': matched,
        'loss_csr': reconstruct(csr, norm, student, views),
        'loss_css': search(css, norm, student, scene, views),
    }, mean
