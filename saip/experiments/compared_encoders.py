"""Which networks, baselines and images a frozen evaluation compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset

from saip.checkpoint import (
    CheckpointError,
    Which,
    build_stored_encoder,
    describe_encoder,
    encoder_of,
    load_checkpoint_file,
    replace_config,
    stored_feature,
)
from saip.datasets.retrieval import RetrievalImages
from saip.engine.launch import read_config
from saip.errors import InputError, MissingFileError, library_refusals
from saip.evaluation.histogram import CoarsePixels, ColorHistogram
from saip.experiments.frozen_eval import FrozenEncoder, evaluate_frozen
from saip.models.backbones import BaseEncoder, build_encoder
from saip.models.selfsup.predicting import Feature, check_feature
from saip.registry import DATASETS, MODELS

SPECIAL = ('random', 'histogram', 'pixels')
RANDOM, HISTOGRAM, PIXELS = 'random weights', 'color histogram', 'coarse pixels'
BASELINES = (RANDOM, HISTOGRAM, PIXELS)
DEFAULT_ENCODER = {'type': 'saip.ViTEncoder'}
CANVAS_SCALE = 1.25
MARKET_FOLDERS = ('query', 'bounding_box_test')


@dataclass
class ComparedEncoders:
    """What to compare.

    Attributes:
        encoders: by the name of their row.
        preprocessor: for all of them.
        size: (h, w) at which images are encoded.
        about: plain values about the checkpoint, for the record.
        feature: what is read of them: ``model.feature`` of the training.
    """

    encoders: dict[str, FrozenEncoder]
    preprocessor: nn.Module
    size: tuple[int, int]
    about: dict[str, Any]
    feature: Feature


def find_compared_encoders(
    source: str,
    config: str | None = None,
    condition: float | None = None,
    size: tuple[int, int] | None = None,
) -> ComparedEncoders:
    """Collect a checkpoint's networks and what they should beat.

    Args:
        source: a training checkpoint, an exported backbone, or ``random``, ``histogram`` or
            ``pixels``.
        config: the pretraining config that builds the encoder and the views; needed for a
            training checkpoint that does not hold its own.
        condition: λ of an encoder that was trained with a controller, see
            :func:`saip.checkpoint.encoder_of`.
        size: (h, w) at which images are encoded; None takes the one of the training.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read, says nothing about its encoder, or its
            configuration builds none.
        InputError: ``condition`` goes with no checkpoint, or is no λ.
        StartError: there is no such config, or it cannot be read.
    """
    if condition is not None and source in SPECIAL:
        raise InputError(
            f'--condition {condition:g}: λ goes with a checkpoint that was trained with a semantic '
            f'controller, and {source} is none; leave it out'
        )
    text = read_config(config).pretty_text if config else None
    try:
        with library_refusals(config or source, CheckpointError):
            return _collect(source, text, condition, size)
    except CheckpointError as error:
        if source in SPECIAL:  # otherwise the file is named
            raise CheckpointError(f'{config}: {error}') from error
        raise


def join_compared_encoders(found: Mapping[str, ComparedEncoders]) -> ComparedEncoders:
    """Put the networks of several checkpoints of one run beside each other.

    Args:
        found: by the name of its row, what a checkpoint with one trained network gave.

    Returns:
        The trained networks under these names, and what they should beat, once. Everything
        else is that of the first.
    """
    first = next(iter(found.values()))
    trained = {name: next(iter(one.encoders.values())) for name, one in found.items()}
    baselines = {name: one for name, one in first.encoders.items() if name in BASELINES}
    return replace(first, encoders={**trained, **baselines})


def evaluate_compared_encoders(
    compared: ComparedEncoders,
    data: str | Path,
    holdout: float | int = 0,
    feature: Feature | None = None,
    protocol: str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluate networks and what they should beat on a folder of images.

    Args:
        compared: what to compare.
        data: see :func:`open_images`, as for ``holdout``.
        holdout: the part of unlabeled images.
        feature: what is read of a network; None takes the one of the training.
        protocol: ``two-view``, ``retrieval``, or None for what the folder's layout allows.
        settings: of :func:`saip.experiments.frozen_eval.evaluate_frozen`, which says what
            comes back. Where λ of a controller was fixed, it is added as ``condition``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder or what it holds cannot be used, or it is labeled and therefore
            has no part that is held back.
    """
    images = open_images(data, compared.size, holdout, protocol)
    if holdout and isinstance(images, RetrievalImages):
        raise InputError(
            f'--holdout {holdout:g}: {data} is a labeled set ({"/, ".join(MARKET_FOLDERS)}/), of '
            'which no training holds images back; leave it out'
        )
    read = feature or compared.feature
    result = evaluate_frozen(
        compared.encoders, images, compared.preprocessor, feature=read, **settings
    )
    stated = {key: compared.about[key] for key in ('condition',) if key in compared.about}
    return {**stated, **result}


def _collect(
    source: str, text: str | None, condition: float | None, size: tuple[int, int] | None
) -> ComparedEncoders:
    """Do :func:`find_compared_encoders`, given the text of the config."""
    if source in SPECIAL:
        meta = {'cfg': text} if text else {'architecture': DEFAULT_ENCODER}
        template = build_stored_encoder(meta)
        networks: dict[str, BaseEncoder] = {}
        about: dict[str, Any] = {}
    else:
        meta, networks, about = _load_networks(source, text, condition)
        template = next(iter(networks.values()))
    size = size or template.img_size
    settings = {**_preprocessor_settings(meta, template), 'size': size}
    statistics = settings['mean'], settings['std']
    baselines: dict[str, Callable[[], FrozenEncoder]] = {
        RANDOM: lambda: random_twin(template),
        HISTOGRAM: lambda: ColorHistogram(*statistics),
        PIXELS: lambda: CoarsePixels(*statistics),
    }
    only = {'histogram': [HISTOGRAM], 'pixels': [PIXELS]}.get(source, list(baselines))
    return ComparedEncoders(
        encoders={**networks, **{name: baselines[name]() for name in only}},
        preprocessor=MODELS.build(settings),
        size=size,
        about=about,
        feature=check_feature(stored_feature(meta)),
    )


def _load_networks(
    path: str, config_text: str | None, condition: float | None
) -> tuple[dict[str, Any], dict[str, BaseEncoder], dict[str, Any]]:
    checkpoint = load_checkpoint_file(path)
    meta = checkpoint.get('meta') or {}
    if config_text:
        meta = replace_config(meta, config_text)
    state_dict = checkpoint.get('state_dict', {})
    branches: list[Which] = [meta.get('which', 'student')]
    if any(key.startswith('expert.backbone.') for key in state_dict):
        branches.append('expert')
    networks: dict[str, BaseEncoder] = {}
    about: dict[str, Any] = {}
    for branch in branches:
        try:
            networks[branch], about = encoder_of(
                {**checkpoint, 'meta': meta}, branch, condition
            )
        except CheckpointError as error:
            raise CheckpointError(f'{path}: {error}') from error
    return meta, networks, about


def _preprocessor_settings(meta: dict[str, Any], encoder: BaseEncoder) -> dict[str, Any]:
    """Config of the preprocessor: the statistics of the training, and no views to train on."""
    statistics = describe_encoder(meta, encoder)['statistics']
    return {
        'type': 'saip.ViewsPreprocessor',
        'patch_size': encoder.patch_stride,
        'views': {},
        'mean': statistics['mean'],
        'std': statistics['std'],
    }


def random_twin(encoder: BaseEncoder, seed: int = 0) -> BaseEncoder:
    """Build an encoder of the same architecture with random weights.

    Its BatchNorm layers normalize by the images at hand: statistics that were never measured
    would shrink its features to nothing and make any trained network look good beside it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = build_encoder(encoder.architecture())
        twin.reset_parameters()
    for module in twin.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = None
            module.track_running_stats = False
    return twin


def open_images(
    root: str | Path,
    size: tuple[int, int],
    holdout: float | int = 0,
    protocol: str | None = None,
) -> Dataset:
    """Open a folder: with query and gallery where it has them, else as unlabeled images.

    Args:
        root: a folder in Market-1501 layout, or any folder of images.
        size: (h, w) at which the images will be encoded.
        holdout: of unlabeled images take those that a training with this ``holdout`` leaves
            out, see ``saip.PersonImages``; 0 takes all.
        protocol: ``two-view`` takes any folder as unlabeled images, ``retrieval`` needs the
            layout of Market-1501; None looks at the folder.

    Raises:
        FileNotFoundError: there is no such folder, or the layout that is needed is missing.
        ValueError: the folder holds half of a Market-1501 layout, or no image.
    """
    root = Path(root).expanduser()
    if not root.exists():  # an LMDB may be a file
        raise MissingFileError(f'{root}: no such folder')
    found = [name for name in MARKET_FOLDERS if (root / name).is_dir()]
    if protocol == 'two-view':
        found = []
    elif protocol == 'retrieval' and not found:
        raise MissingFileError(
            f'{root}: --protocol retrieval needs the layout of Market-1501, that is '
            f'{"/ and ".join(MARKET_FOLDERS)}/'
        )
    if len(found) == len(MARKET_FOLDERS):
        return DATASETS.build(
            {'type': 'saip.RetrievalImages', 'data_root': str(root), 'size': size}
        )
    if found:
        missing = next(name for name in MARKET_FOLDERS if name not in found)
        raise InputError(f'{root}: has {found[0]}/ but no {missing}/; Market-1501 has both')
    canvas = tuple(round(CANVAS_SCALE * side) for side in size)
    images: dict[str, Any] = {
        'type': 'saip.PersonImages',
        'data_root': str(root),
        'canvas': canvas,
    }
    if holdout:
        images |= {'holdout': holdout, 'part': 'held_back'}
    return DATASETS.build(images)
