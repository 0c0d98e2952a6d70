"""The tokenizer of a training, as a file of its own."""

from __future__ import annotations

import os

from saip.checkpoint import CheckpointError, load_checkpoint_file, parse_config_text
from saip.engine.converters.files import Conversion, fit, write_weights
from saip.registry import MODELS

PREFIX = 'tokenizer.'


def export_tokenizer(source: str | os.PathLike, target: str | os.PathLike) -> Conversion:
    """Write the weights of a discrete VAE that ``configs/tokenizer`` has trained.

    Args:
        source: checkpoint of the training.
        target: file to write; ``.safetensors`` or any torch suffix.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read, or is no checkpoint of such a training.
        OSError: a file cannot be read or written.
    """
    checkpoint = load_checkpoint_file(source)
    text = (checkpoint.get('meta') or {}).get('cfg')
    model = (parse_config_text(text).get('model') or {}) if text else {}
    if model.get('type') != 'saip.TokenizerTrainer':
        raise CheckpointError(
            f'{source}: no checkpoint of a tokenizer, which a config of configs/tokenizer trains '
            '(model.type=saip.TokenizerTrainer)'
        )
    tensors = {
        key.removeprefix(PREFIX): x
        for key, x in checkpoint['state_dict'].items()
        if key.startswith(PREFIX)
    }
    fit(MODELS.build(dict(model['tokenizer'])), tensors, 'the tokenizer of its configuration')
    settings = dict(model['tokenizer'])
    write_weights(target, tensors, {'tokenizer': settings}, source)
    notes = (f'tokenizer={settings}', f'name it by SAIP_TOKENIZER={target}')
    return Conversion(str(target), len(tensors), notes=notes)
