"""Losses of SCHP: pure functions of logits (B, C, H, W) and labels (B, H, W) of the same size."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from mmseg.models.losses.lovasz_loss import lovasz_softmax
from torch import Tensor, stack


def part_edges(labels: Tensor, ignored: int) -> Tensor:
    """Where parts meet: (B, H, W) labels -> (B, H, W) of 0 and 1, int64.

    A pixel is on an edge where itself or one of its eight neighbors has another label than a
    neighbor below, right or above of it, pixels to ignore apart. On label maps this is
    mmsegmentation's ``GenerateEdge(edge_width=3)``; predictions need it on their device.
    """
    edges = labels.new_zeros(labels.shape)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),
        ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))),
    ):
        one, other = labels[:, here[0], here[1]], labels[:, there[0], there[1]]
        differ = (one != other) & (one != ignored) & (other != ignored)
        edges[:, here[0], here[1]] |= differ.to(edges.dtype)
    return F.max_pool2d(edges[:, None].float(), 3, stride=1, padding=1)[:, 0].long()


def lovasz_loss(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """Lovász-softmax over the pixels of the batch, the mean over the classes among its labels."""
    shares = logits.float().softmax(1)
    loss = lovasz_softmax(shares, labels, classes='present', ignore_index=ignored)
    return loss.sum()  # one number, or none at all if all pixels are ignored


def part_loss(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """Mean cross-entropy of the pixels that count; 0 if none does.

    mmsegmentation's counts them on the host, which would wait at every step.
    """
    total = F.cross_entropy(logits, labels, ignore_index=ignored, reduction='sum')
    return total / (labels != ignored).sum().clamp(min=1)


def edge_loss(logits: Tensor, edges: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy in which edges and the rest weigh the same in total.

    Each pixel's weight is the other class's share of the batch, and the weights sum to 1; 0 if
    there is no edge.

    Args:
        logits: of no edge and edge.
        edges: (B, H, W) of 0 and 1.
        valid: (B, H, W) bool, the pixels that count.
    """
    share = (edges * valid).sum() / valid.sum().clamp(min=1)
    weights = stack([share, 1 - share])[edges] * valid
    losses = F.cross_entropy(logits, edges, reduction='none')
    return (weights * losses).sum() / weights.sum().clamp(min=1e-6)


def refined_loss(
    logits: Tensor,
    ema_logits: Tensor,
    labels: Tensor,
    share: float,
    valid: Tensor,
    over_classes: Literal['sum', 'mean'] = 'sum',
) -> Tensor:
    """KL divergence from targets between an earlier model's prediction and the labels.

    The target is softmax((1 - share) * ema_logits + share * one_hot(labels)): logits and one-hot
    labels are mixed before the softmax, as in SCHP's release. The mean over the valid pixels of
    the divergence itself, a sum over the classes, is what the codes of SOLIDER and of the paper's
    authors compute. ``mean`` divides it by the number of classes as well, 20 for LIP's parts and
    2 for the edges.

    Args:
        logits: of the model that learns.
        ema_logits: logits of the average of earlier models.
        labels: one label per pixel; what stands at pixels that are not valid does not matter.
        share: weight of the labels, 0 to 1.
        valid: (B, H, W) bool, the pixels that count.
        over_classes: what is taken over the classes of a pixel.
    """
    mixed = (1 - share) * ema_logits.float()
    index = labels.where(valid, 0)[:, None]
    mixed = mixed.scatter_add(1, index, mixed.new_full((), share).expand(index.shape))
    terms = F.kl_div(logits.log_softmax(1), mixed.softmax(1), reduction='none')
    divergence = terms.sum(1) if over_classes == 'sum' else terms.mean(1)
    return divergence.where(valid, 0).sum() / valid.sum().clamp(min=1)


def consistency_loss(parts: Tensor, edges: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """How much of the edges of the predicted parts the edge branch misses, 0 to 1.

    The mean of |e' - e|, as SCHP states it, over the pixels where the predicted parts have an edge,
    e' = 1, with the branch's probability as e. SCHP's release rounds e too and takes the pixels
    where both are 1, so that its term is always 0.

    Args:
        parts: (B, C, H, W) logits.
        edges: (B, 2, H, W) logits.
        labels: (B, H, W), which tell the pixels to ignore.
        ignored: label of these.
    """
    predicted = parts.argmax(1).where(labels != ignored, ignored)
    on_edge = part_edges(predicted, ignored) * (labels != ignored)
    missed = 1 - edges.float().softmax(1)[:, 1]
    return (missed * on_edge).sum() / on_edge.sum().clamp(min=1)
