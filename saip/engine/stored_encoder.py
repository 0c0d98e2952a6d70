"""What a checkpoint's meta says about its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saip.engine.checkpoint_io import CheckpointError, parse_config_text
from saip.registry import MODELS

if TYPE_CHECKING:
    from saip.models.backbones import BaseEncoder

STATISTICS = {
    'mean': [123.675, 116.28, 103.53],
    'std': [58.395, 57.12, 57.375],
    'color_order': 'RGB',
}
"""Of pixels in 0..255, where a configuration does not name others."""


def has_saip_config(meta: dict[str, Any]) -> bool:
    """Whether mmengine stored the configuration of a SAIP pretraining in this meta."""
    return 'saip.' in str(meta.get('cfg') or '')


def build_stored_encoder(meta: dict[str, Any]) -> BaseEncoder:
    """Build the encoder that a checkpoint's meta describes, with random weights.

    Raises:
        CheckpointError: the meta describes none.
    """
    # The encoders' own module imports the loading code, so it cannot be imported above.
    from saip.models.backbones import build_encoder

    if 'architecture' in meta:
        return build_encoder(meta['architecture'])
    if not has_saip_config(meta):
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
    return build_stored_encoder(meta).architecture() if has_saip_config(meta) else None


def frozen_expert_file(meta: dict[str, Any]) -> str | None:
    """The weights of a training's frozen expert, as its configuration names them.

    Returns:
        The file; None where the expert is an average and therefore in the checkpoint, or where
        nothing is known.
    """
    if not has_saip_config(meta):
        return None
    expert = _model_config(meta).get('expert') or {}
    return expert.get('checkpoint')


def _model_config(meta: dict[str, Any]) -> dict[str, Any]:
    config = parse_config_text(meta['cfg'])
    if 'backbone' not in config.get('model', {}):
        raise CheckpointError('the configuration in its meta has no model.backbone')
    return config['model']


def describe_encoder(meta: dict[str, Any], encoder: BaseEncoder) -> dict[str, Any]:
    """Plain values about an encoder, in a fixed order."""
    kept = {
        'preset': meta.get('preset'),
        'objectives': meta.get('objectives'),
        'data': meta.get('data'),
        'statistics': meta.get('statistics', STATISTICS),
    }
    if 'architecture' not in meta:
        kept = _describe_training(parse_config_text(meta['cfg']))
    return {
        'architecture': encoder.architecture(),
        'embed_dims': encoder.embed_dims,
        **kept,
        'epoch': meta.get('epoch'),
        'iteration': meta.get('iter', meta.get('iteration')),
    }


def _describe_training(config: dict[str, Any]) -> dict[str, Any]:
    """Preset, objectives, data and statistics that a training configuration names."""
    model = config['model']
    objectives = model.get('objectives') or {}
    preprocessor = model.get('data_preprocessor') or {}
    statistics = {
        key: [float(x) for x in preprocessor[key]] if key in preprocessor else STATISTICS[key]
        for key in ('mean', 'std')
    }
    return {
        'preset': config.get('preset'),
        'objectives': [key for key, value in objectives.items() if value is not None],
        'data': _data_names(config.get('train_dataloader', {}).get('dataset') or {}),
        'statistics': {**statistics, 'color_order': STATISTICS['color_order']},
    }


def _data_names(dataset: dict[str, Any]) -> list[str]:
    """Names of the data sets below a (possibly joined) one; no folders, they are private."""
    if 'datasets' in dataset:
        return [name for part in dataset['datasets'] for name in _data_names(part)]
    name = dataset.get('name') or Path(str(dataset.get('data_root', ''))).name
    return [name] if name else []
