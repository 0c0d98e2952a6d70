"""CLIP's text transformer, and the block that its image-text decoder shares.

Legend: B captions, T ids of each, W width, E width of the common space of images and texts.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.checkpoint import (
    CheckpointError,
    WeightsError,
    load_checkpoint_file,
)
from saip.checkpoint.strict import architecture_differences, check_tensors
from saip.errors import InputError
from saip.registry import MODELS

Activation = Literal['quick_gelu', 'gelu']
PREFIX = 'text.'
REMEDY = (
    'SAIP_TEXT_INIT (model.text.init_cfg.checkpoint) names a file that '
    'tools/model_converters/clip_text_to_saip.py wrote'
)


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron of four times the width, each after a LayerNorm.

    Args:
        width: W.
        heads: of the attention.
        layers: blocks of the whole transformer, by which the initial weights shrink.
        activation: ``quick_gelu`` is x · sigmoid(1.702 x), with which OpenAI's CLIP was trained.
        causal: whether a position sees those before it alone.
    """

    def __init__(
        self, width: int, heads: int, layers: int, activation: Activation, causal: bool
    ) -> None:
        super().__init__()
        self.heads, self.activation, self.causal = heads, activation, causal
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        # Deviations of CLIP (Radford et al., 2021).
        into_sum = width**-0.5 * (2 * layers) ** -0.5
        deviations = (width**-0.5, into_sum, (2 * width) ** -0.5, into_sum)
        linears = (self.qkv, self.proj, self.fc1, self.fc2)
        for linear, deviation in zip(linears, deviations, strict=True):
            nn.init.normal_(linear.weight, std=deviation)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        parts = self.qkv(self.norm1(x)).chunk(3, -1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.fc2(activate(self.fc1(self.norm2(x)), self.activation))


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply an activation by its name."""
    return x * torch.sigmoid(1.702 * x) if activation == 'quick_gelu' else F.gelu(x)


@MODELS.register_module()
class CLIPTextTransformer(BaseModule):
    """The text side of CLIP (Radford et al., 2021); by default that of its ViT-B/16.

    Ids and positions are embedded, causal blocks follow, then a LayerNorm and a matrix without
    bias into the common space. A caption's feature is the row of the end of its text.

    Args:
        width: W.
        layers: number of blocks.
        heads: of each attention.
        context: largest number T of ids.
        vocab_size: number of ids.
        dims: width E of the common space.
        activation: ``quick_gelu`` for weights of OpenAI, ``gelu`` for many of open_clip's own.
        init_cfg: None for random weights, or ``dict(type='Pretrained', checkpoint=FILE)`` with a
            file of ``tools/model_converters/clip_text_to_saip.py``.

    Raises:
        InputError: an option has a value that cannot be.
    """

    def __init__(
        self,
        width: int = 512,
        layers: int = 12,
        heads: int = 8,
        context: int = 77,
        vocab_size: int = 49_408,
        dims: int = 512,
        activation: Activation = 'quick_gelu',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if activation not in get_args(Activation):
            raise InputError(
                f"model.text.activation={activation!r}: choose 'quick_gelu' or 'gelu'"
            )
        if width % heads:
            raise InputError(f'model.text.width={width} is no multiple of its {heads} heads')
        if context < 3:
            raise InputError(f'model.text.context={context}: start, one id and end need 3')
        self.options: dict[str, Any] = dict(
            width=width,
            layers=layers,
            heads=heads,
            context=context,
            vocab_size=vocab_size,
            dims=dims,
            activation=activation,
        )
        self.width, self.dims = width, dims
        self.context, self.vocab_size = context, vocab_size
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.Sequential(
            *(
                TransformerBlock(width, heads, layers, activation, causal=True)
                for _ in range(layers)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, dims, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.projection.weight, std=width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids, T the context -> (B, T, E) rows in the common space."""
        x = self.token_embedding(ids) + self.positional_embedding
        return self.projection(self.norm(self.blocks(x)))

    def architecture(self) -> dict[str, Any]:
        """Plain values that build this transformer again; kept in converted files."""
        return {'type': 'saip.CLIPTextTransformer', **self.options}

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names, all of it; without one keep the random weights.

        Raises:
            WeightsError: the file cannot be read, or a key, shape or option does not match.
        """
        cfg = self.init_cfg
        if cfg is None:
            return
        path = str(cfg.get('checkpoint') or '')
        if cfg.get('type') != 'Pretrained' or not path:
            raise WeightsError(f'model.text.init_cfg={cfg}: {REMEDY}')
        try:
            checkpoint = load_checkpoint_file(path)
        except CheckpointError as error:
            raise WeightsError(f'{error}; {REMEDY}') from error
        stored = checkpoint.get('state_dict', checkpoint)
        weights = {
            key.removeprefix(PREFIX): value
            for key, value in stored.items()
            if key.startswith(PREFIX) and torch.is_tensor(value)
        }
        if not weights:
            raise WeightsError(f'{path}: no key begins with {PREFIX!r}; {REMEDY}')
        meta = checkpoint.get('meta') or {}
        differing = architecture_differences(
            meta.get('architecture') or {}, self.architecture()
        )
        if differing:
            raise WeightsError(
                f'{path}: another text transformer: {"; ".join(differing)}. Set model.text as the '
                'file says'
            )
        check_tensors(weights, self.state_dict(), path, remedy=REMEDY)
        self.load_state_dict(weights, strict=True)
        print_log(f'loaded all {len(weights)} tensors of the text from {path}', 'current')
