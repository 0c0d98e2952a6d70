"""Reading files of other projects, and writing what became of them."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saip.checkpoint import (
    CheckpointError,
    describe_encoder,
    file_sha256,
    load_checkpoint_file,
    tensors_sha256,
    write_checkpoint,
)
from saip.models.backbones import BaseEncoder
from saip.version import __version__

StateDict = dict[str, Tensor]

WRAPPINGS = ('state_dict', 'model')
"""Entries below which training scripts keep the weights."""

TOLERANCE = 1e-4
"""Largest difference of features that two implementations of one network may have."""

FEW = 8
"""So many dropped keys are all printed."""


@dataclass(frozen=True)
class Conversion:
    """What a converter did.

    Attributes:
        target: the file written.
        tensors: how many tensors are in it.
        dropped: keys of the source that have no place in it: of a classifier, neck or head.
        notes: lines about what the user has to know.
    """

    target: str
    tensors: int
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Lines for the screen."""
        lines = [f'{self.target}: {self.tensors} tensors']
        if self.dropped:
            lines.append(f'dropped: {_summary(self.dropped)}')
        return '\n'.join([*lines, *self.notes])


def _summary(keys: tuple[str, ...]) -> str:
    """Keys as text; of many only what their names begin with, and how many do."""
    if len(keys) <= FEW:
        return ', '.join(keys)
    counts = Counter(key.partition('.')[0] for key in keys)
    return ', '.join(f'{name}.* ({number} tensors)' for name, number in counts.items())


def read_weights(path: str | os.PathLike) -> tuple[StateDict, dict[str, Any]]:
    """Read the weights of a file of another project: bare, or below one of ``WRAPPINGS``.

    Returns:
        The tensors, without the ``module.`` that data-parallel training puts before their names,
        and the file's meta.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read, or holds no weights.
    """
    checkpoint = load_checkpoint_file(path)
    wrapped = [name for name in WRAPPINGS if isinstance(checkpoint.get(name), dict)]
    weights = checkpoint[wrapped[0]] if wrapped else checkpoint
    strangers = [key for key, value in weights.items() if not torch.is_tensor(value)]
    if strangers or not weights:
        found = f'; {", ".join(map(str, strangers[:5]))} are no tensors' if strangers else ''
        raise CheckpointError(
            f'{path}: no weights found, neither bare nor below {" or ".join(WRAPPINGS)}{found}'
        )
    meta = checkpoint.get('meta') if wrapped else None
    return {key.removeprefix('module.'): x for key, x in weights.items()}, meta or {}


def refuse_options(**options: Any) -> None:
    """Refuse options about a file that says itself what it holds.

    Raises:
        CheckpointError: an option is not None.
    """
    given = [
        f'--{name.replace("_", "-")}' for name, value in options.items() if value is not None
    ]
    if given:
        raise CheckpointError(
            f'the file says in its meta which encoder it holds; leave {", ".join(given)} out'
        )


def describe(meta: dict[str, Any], encoder: BaseEncoder) -> dict[str, Any]:
    """Plain values about an encoder as exported files have them; unknown ones are None."""
    which = {'which': meta['which']} if meta.get('which') else {}
    return {**which, **describe_encoder(meta, encoder)}


def write_weights(
    target: str | os.PathLike,
    tensors: StateDict,
    meta: dict[str, Any],
    source: str | os.PathLike,
) -> None:
    """Write tensors with a meta as exported files have; ``.safetensors`` or any torch suffix."""
    tensors = {key: x.detach().cpu().clone().contiguous() for key, x in tensors.items()}
    meta = {
        **meta,
        'tensors_sha256': tensors_sha256(tensors),
        'source_sha256': file_sha256(source),
        'saip_version': __version__,
    }
    write_checkpoint(target, tensors, meta)


def fit(encoder: torch.nn.Module, tensors: StateDict, whose: str) -> None:
    """Load tensors into a network; all of them have to match.

    Raises:
        CheckpointError: keys or shapes differ, named.
    """
    wanted = encoder.state_dict()
    shapes = [
        key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    problems = {
        'missing': [key for key in wanted if key not in tensors],
        'without a place': [key for key in tensors if key not in wanted],
        'of another shape': [
            f'{key} {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}'
            for key in shapes
        ],
    }
    texts = [
        f'{len(keys)} {what}, such as {", ".join(keys[:3])}'
        for what, keys in problems.items()
        if keys
    ]
    if texts:
        raise CheckpointError(f'the weights are not those of {whose}: {"; ".join(texts)}')
    encoder.load_state_dict(tensors, strict=True)


@torch.no_grad()
def check_features(ours: BaseEncoder, theirs: nn.Module, whose: str) -> None:
    """Compare image tokens of an image of noise, (1, D): what no key or shape shows.

    In float64: noise is far from what norms have seen, and rounding may grow to a tenth of the
    features of a network that multiplies them.

    Args:
        ours: float32, and so afterwards.
        theirs: returns image tokens of images; the same.
        whose: network they are, for the message.

    Raises:
        CheckpointError: they differ.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, *ours.img_size, generator=generator).double()
    try:
        our_token = ours.eval().double().encode(images).require_image_token()
        their_token = theirs.double()(images)
    finally:
        ours.float()
        theirs.float()
    difference = (our_token - their_token).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, their_token.abs().max().item()):
        raise CheckpointError(
            f'the keys match, but its features differ from those of {whose} by up to '
            f'{difference:.1e}: it computes something else with the same weights (activation, '
            'pooling, norm)'
        )
