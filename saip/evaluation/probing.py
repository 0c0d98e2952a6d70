"""Linear and attentive probes: what is trained on frozen features.

Shapes: B images, T tokens, D channels, C classes or attributes, R learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmpretrain.engine.optimizers import LARS
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.ops.attention import read
from saip.models.ops.blocks import NORM_EPS

Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
"""Features and targets of an epoch, batch by batch, by the number of the epoch."""


@dataclass(frozen=True)
class ProbeRecipe:
    """How a probe is trained.

    Attributes:
        attentive: read all tokens by an :class:`AttentiveProbe`; otherwise one feature.
        norm: a BatchNorm without gain and shift before the classifier.
        norm_eps: of this norm.
        lars: LARS in place of SGD; both with momentum 0.9 and without decay.
        rates: learning rates per 256 images, each of which trains a probe of its own.
        epochs: passes over the images.
        warm_up: epochs in which the rate grows linearly from 0; a cosine to 0 follows.
    """

    attentive: bool
    norm: bool
    norm_eps: float
    lars: bool
    rates: tuple[float, ...]
    epochs: int
    warm_up: int


RECIPES = {
    'linear': ProbeRecipe(False, True, 1e-6, True, (0.03, 0.1, 0.3), 90, 10),
    'linear-dino': ProbeRecipe(
        False, False, 1e-5, False, (0.001, 0.003, 0.01, 0.03, 0.1), 100, 0
    ),
    'attentive': ProbeRecipe(True, True, 1e-5, False, (0.004, 0.0125, 0.04), 90, 10),
}
"""Linear probing of MAE and CAE (LARS, 0.1 per 256 images) and of DINO (SGD, 0.001); attentive
probing of CAE (SGD, 0.4 for 8,192 images). The published rates with their neighbors."""


class LinearHead(nn.Module):
    """A classifier of one feature, after a BatchNorm without gain and shift if there is one.

    Args:
        dims: width D.
        classes: number C.
        norm_eps: of the norm; None for no norm.
    """

    def __init__(self, dims: int, classes: int, norm_eps: float | None) -> None:
        super().__init__()
        self.norm = (
            nn.Identity()
            if norm_eps is None
            else nn.BatchNorm1d(dims, eps=norm_eps, affine=False)
        )
        self.head = nn.Linear(dims, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, C)."""
        return self.head(self.norm(features))


class AttentiveProbe(nn.Module):
    """One learned query reads all tokens by cross-attention; a classifier reads the result.

    CAE's (arXiv:2202.03026, Section 4.3, and its release): norms on query, keys and values, no
    residual, no feed-forward layer, and a BatchNorm without gain and shift.

    Args:
        dims: width D.
        classes: number C.
        num_heads: attention heads.
        norm_eps: of the BatchNorm; None for none.

    Raises:
        InputError: the width is no multiple of the heads.
    """

    def __init__(
        self, dims: int, classes: int, num_heads: int, norm_eps: float | None = 1e-5
    ) -> None:
        super().__init__()
        if dims % num_heads:
            raise InputError(f'{num_heads} heads cannot share tokens of {dims} channels')
        self.num_heads = num_heads
        self.query_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.norm_query = nn.LayerNorm(dims, eps=NORM_EPS)
        self.norm_key = nn.LayerNorm(dims, eps=NORM_EPS)
        self.norm_value = nn.LayerNorm(dims, eps=NORM_EPS)
        self.query = nn.Linear(dims, dims)
        self.key = nn.Linear(dims, dims, bias=False)
        self.value = nn.Linear(dims, dims)
        self.proj = nn.Linear(dims, dims)
        for layer in (self.query, self.key, self.value, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        for biased in (self.query, self.value, self.proj):
            nn.init.zeros_(biased.bias)
        self.classifier = LinearHead(dims, classes, norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, C)."""
        query = self.query(self.norm_query(self.query_token)).expand(len(tokens), -1, -1)
        key, value = self.key(self.norm_key(tokens)), self.value(self.norm_value(tokens))
        return self.classifier(self.proj(read(self.num_heads, query, key, value))[:, 0])


class ParallelProbes:
    """Probes of one encoder with several learning rates, trained on the same features.

    Args:
        recipe: how they are trained.
        dims: width D.
        classes: number C.
        num_heads: of attentive probes.
        batch_size: images per step, by which the rates are scaled.
        device: where to compute.
        seed: of the initial weights, which are the same for all rates.
    """

    def __init__(
        self,
        recipe: ProbeRecipe,
        dims: int,
        classes: int,
        num_heads: int,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.rates = recipe.rates
        eps = recipe.norm_eps if recipe.norm else None
        self.probes: list[nn.Module] = []
        for _ in self.rates:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                probe = (
                    AttentiveProbe(dims, classes, num_heads, eps)
                    if recipe.attentive
                    else LinearHead(dims, classes, eps)
                )
            self.probes.append(probe.to(device).train())
        # MAE's LARS adapts the rate of matrices alone.
        groups = [
            {'params': parameters, 'peak': rate * batch_size / 256, 'lars_exclude': not adapted}
            for probe, rate in zip(self.probes, self.rates, strict=True)
            for adapted in (True, False)
            if (parameters := [p for p in probe.parameters() if (p.ndim > 1) is adapted])
        ]
        kind = LARS if recipe.lars else torch.optim.SGD
        self.optimizer = kind(groups, lr=1.0, momentum=0.9, weight_decay=0.0)

    def factor(self, epoch: float) -> float:
        """Share of the peak rate at a (fractional) epoch."""
        warm, total = self.recipe.warm_up, self.recipe.epochs
        if epoch < warm:
            return epoch / warm
        return (1 + math.cos(math.pi * (epoch - warm) / max(total - warm, 1e-9))) / 2

    @torch.enable_grad()
    def step(self, features: Tensor, targets: Tensor, epoch: float) -> None:
        """Train all probes by one batch."""
        for group in self.optimizer.param_groups:
            group['lr'] = group['peak'] * self.factor(epoch)
        features = features.detach()
        losses = [classification_error(probe(features), targets) for probe in self.probes]
        self.optimizer.zero_grad()
        # Sums of independent probes: each gets the gradient of its own loss.
        torch.stack(losses).sum().backward()
        self.optimizer.step()

    @torch.no_grad()
    def scores(self, features: Tensor) -> list[Tensor]:
        """(B, C) of each probe, with the statistics that its norm has gathered."""
        for probe in self.probes:
            probe.eval()
        found = [probe(features) for probe in self.probes]
        for probe in self.probes:
            probe.train()
        return found


def classification_error(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of (B, C) scores with (B,) classes or (B, C) attributes."""
    if targets.ndim == 2:
        return F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype))
    return F.cross_entropy(scores, targets)


def train_probes(probes: ParallelProbes, batches: Batches, per_epoch: int) -> None:
    """Train for the epochs of the recipe.

    Args:
        probes: to be trained.
        batches: of an epoch.
        per_epoch: number of batches.
    """
    for epoch in range(probes.recipe.epochs):
        for number, (features, targets) in enumerate(batches(epoch)):
            probes.step(features, targets, epoch + number / per_epoch)


def cached_batches(
    features: Tensor, targets: Tensor, batch_size: int, epoch: int, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches of features that were extracted once; the last, smaller one is left out.

    Where there are fewer images than a batch, all are one batch.
    """
    generator = torch.Generator().manual_seed(hash((seed, epoch)) % 2**63)
    order = torch.randperm(len(features), generator=generator).to(features.device)
    count = max(1, len(features) // batch_size)
    for chosen in order.split(batch_size)[:count]:
        yield features[chosen], targets[chosen]


def check_rates(rates: Sequence[float]) -> tuple[float, ...]:
    """Return learning rates, all above 0 and different.

    Raises:
        InputError: there is none, one is no finite number above 0, or two are equal.
    """
    usable = all(math.isfinite(rate) and rate > 0 for rate in rates)
    if not rates or not usable or len(set(rates)) < len(rates):
        given = ' '.join(map(str, rates))
        raise InputError(f'--rates {given}: different, finite numbers above 0 are needed')
    return tuple(float(rate) for rate in rates)
