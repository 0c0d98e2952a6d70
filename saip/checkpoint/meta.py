"""What a checkpoint's meta says about its encoder and its training.

A file of a pretraining, exported or not, holds plain values under the keys of
:func:`describe_training`. A training checkpoint of an older version holds the text of its
configuration in their place, from which the same values follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from saip.checkpoint.config_text import parse_config_text
from saip.checkpoint.io import CheckpointError
from saip.registry import MODELS

STATISTICS = {
    'mean': [123.675, 116.28, 103.53],
    'std': [58.395, 57.12, 57.375],
    'color_order': 'RGB',
}
"""Of pixels in 0..255, where a configuration does not name others."""

FEATURE = 'image_token'
"""What evaluation reads of an encoder, where a configuration does not name it."""

_TRAINING_KEYS = (
    'architecture',
    'embed_dims',
    'preset',
    'objectives',
    'data',
    'statistics',
    'feature',
    'expert_checkpoint',
)


class DescribedEncoder(Protocol):
    """What a description asks of an encoder; see ``saip.models.backbones.BaseEncoder``."""

    embed_dims: int

    def architecture(self) -> dict[str, Any]:
        """Plain values that build it again."""


def describe_training(config: Mapping[str, Any], encoder: DescribedEncoder) -> dict[str, Any]:
    """Plain values that a checkpoint of a pretraining says of itself.

    Args:
        config: of the run.
        encoder: that it trains.

    Returns:
        ``architecture``, ``embed_dims``, ``preset``, ``objectives`` (names), ``data`` (names),
        ``statistics`` and ``feature``, which evaluation reads; with a frozen expert
        ``expert_checkpoint``, the file with its weights.
    """
    model = config.get('model') or {}
    expert_file = (model.get('expert') or {}).get('checkpoint')
    frozen = {} if expert_file is None else {'expert_checkpoint': str(expert_file)}
    return {
        'architecture': encoder.architecture(),
        'embed_dims': encoder.embed_dims,
        **_describe_config(config),
        **frozen,
    }


def describe_encoder(meta: dict[str, Any], encoder: DescribedEncoder) -> dict[str, Any]:
    """Plain values about an encoder, in a fixed order: those of an exported file.

    ``trained`` is what :mod:`saip.engine.records` says of the training, where it is known.
    """
    if 'architecture' in meta:
        known = {key: meta.get(key) for key in ('preset', 'objectives', 'data')}
        known['statistics'] = meta.get('statistics', STATISTICS)
        known['feature'] = stored_feature(meta)
    else:
        known = _describe_config(parse_config_text(meta['cfg']))
    return {
        'architecture': encoder.architecture(),
        'embed_dims': encoder.embed_dims,
        **known,
        'epoch': meta.get('epoch'),
        'iteration': meta.get('iter', meta.get('iteration')),
        **({'trained': meta['trained']} if meta.get('trained') else {}),
    }


def build_stored_encoder(meta: dict[str, Any]) -> Any:
    """Build the encoder that a checkpoint's meta describes, with random weights.

    Returns:
        A ``saip.models.backbones.BaseEncoder``.

    Raises:
        CheckpointError: the meta describes none.
    """
    if 'architecture' in meta:
        architecture = meta['architecture']
        return MODELS.build({key: x for key, x in architecture.items() if key != 'grid'})
    if not _has_saip_config(meta):
        raise CheckpointError(
            'its meta says nothing about the encoder; it is neither a SAIP '
            'checkpoint nor a file made by tools/export_backbone.py'
        )
    model = _model_config(meta)
    backbone = dict(model['backbone'])
    backbone.pop('init_cfg', None)
    size = model.get('data_preprocessor', {}).get('size')
    if 'img_size' not in backbone and size is not None:
        backbone['img_size'] = size
    return MODELS.build(backbone)


def stored_architecture(meta: dict[str, Any]) -> dict[str, Any] | None:
    """Architecture recorded in an exported, converted or training checkpoint; None if none."""
    if 'architecture' in meta:
        return meta['architecture']
    return build_stored_encoder(meta).architecture() if _has_saip_config(meta) else None


def stored_feature(meta: Mapping[str, Any]) -> str:
    """What evaluation reads of a checkpoint's encoder: ``model.feature`` of its training.

    Older files that record none are asked for their configuration; where that says nothing, it is
    the image token.
    """
    return str(_stored(meta, 'feature') or FEATURE)


def stored_preset(meta: Mapping[str, Any]) -> str | None:
    """The preset of a checkpoint's training; None where nothing says it."""
    return _stored(meta, 'preset')


def _stored(meta: Mapping[str, Any], key: str) -> Any:
    """What a meta records, else what the text of its configuration says; None without both."""
    if key in meta or not _has_saip_config(meta):
        return meta.get(key)
    try:
        return _describe_config(parse_config_text(meta['cfg']))[key]
    except CheckpointError:  # neither the encoder nor its weights need this text
        return None


def frozen_expert_file(meta: dict[str, Any]) -> str | None:
    """The weights of a training's frozen expert, as its configuration names them.

    Returns:
        The file; None where the expert is an average and therefore in the checkpoint, or where
        nothing is known.
    """
    if 'architecture' in meta:
        return meta.get('expert_checkpoint')
    if not _has_saip_config(meta):
        return None
    expert = _model_config(meta).get('expert') or {}
    return expert.get('checkpoint')


def replace_config(meta: dict[str, Any], text: str) -> dict[str, Any]:
    """Meta in which the text of another configuration stands for that of the training.

    What an exported or converted file says about its encoder stays; of a training checkpoint
    everything follows from the text.
    """
    if 'cfg' in meta:  # exported and converted files have none
        meta = {key: value for key, value in meta.items() if key not in _TRAINING_KEYS}
    return {**meta, 'cfg': text}


def _has_saip_config(meta: Mapping[str, Any]) -> bool:
    """Whether mmengine stored the configuration of a SAIP pretraining in this meta."""
    return 'saip.' in str(meta.get('cfg') or '')


def _model_config(meta: dict[str, Any]) -> dict[str, Any]:
    config = parse_config_text(meta['cfg'])
    if 'backbone' not in config.get('model', {}):
        raise CheckpointError('the configuration in its meta has no model.backbone')
    return config['model']


def _describe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Preset, objectives, data, statistics and feature that a training configuration names."""
    model = config.get('model') or {}
    objectives = model.get('objectives') or {}
    preprocessor = model.get('data_preprocessor') or {}
    statistics = {
        key: [float(x) for x in preprocessor[key]] if key in preprocessor else STATISTICS[key]
        for key in ('mean', 'std')
    }
    return {
        'preset': config.get('preset'),
        'objectives': [key for key, value in objectives.items() if value is not None],
        'data': _data_names((config.get('train_dataloader') or {}).get('dataset') or {}),
        'statistics': {**statistics, 'color_order': STATISTICS['color_order']},
        'feature': str(model.get('feature', FEATURE)),
    }


def _data_names(dataset: Mapping[str, Any]) -> list[str]:
    """Names of the data sets below a (possibly joined) one; no folders, they are private."""
    if 'datasets' in dataset:
        return [name for part in dataset['datasets'] for name in _data_names(part)]
    name = dataset.get('name') or Path(str(dataset.get('data_root', ''))).name
    return [name] if name else []
