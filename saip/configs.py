"""Where the configs of this installation lie, and the environment variables that they read."""

import os
from pathlib import Path

from saip.errors import InputError, MissingFileError

PACKAGE = Path(__file__).resolve().parent
PLACES = (PACKAGE.parent / 'configs', PACKAGE / '.mim' / 'configs')
"""In the repository (an editable installation), or inside an installed wheel."""


def backbone_folder() -> Path:
    """Folder of the configs' encoders, one file each.

    Raises:
        MissingFileError: the installation has no configs.
    """
    for place in PLACES:
        folder = place / '_base_' / 'backbones'
        if folder.is_dir():
            return folder
    raise MissingFileError(
        f'this installation of saip has no configs: neither {PLACES[0]} nor {PLACES[1]} exists; '
        'install it with pip from the repository'
    )


VARIABLES = {
    'SAIP_BACKBONE': 'the name of a file of configs/_base_/backbones, such as vit-tiny-p16',
    'SAIP_BPE': "CLIP's vocabulary bpe_simple_vocab_16e6.txt.gz, or none to learn one",
    'SAIP_DATA': 'the folder of the data sets',
    'SAIP_DINO': 'a training checkpoint of preset dino',
    'SAIP_EPOCHS': 'a whole number of epochs, at least 1',
    'SAIP_EXPERT': "the file of a frozen expert's weights",
    'SAIP_FOLDER': 'a folder of person crops',
    'SAIP_INIT': 'an exported backbone, or none for random weights',
    'SAIP_KEYPOINTS': "the file of a data set's keypoints, or none",
    'SAIP_LABELED': 'a folder of class folders, or none',
    'SAIP_LAYER_SCALE': 'the LayerScale of a pretraining, 0.1 or 1e-5 of CAE, or 0 for none',
    'SAIP_METHOD': 'the name of a file of configs/pretrain/_base_/methods, such as saip-small',
    'SAIP_PEOPLE': 'a folder of synthetic persons in Market-1501 layout',
    'SAIP_RETRIEVAL': 'a set in Market-1501 layout, or none',
    'SAIP_SCHEDULE': 'a share of the full schedule, above 0 and at most 1, such as 0.25',
    'SAIP_TEXT_INIT': 'a converted text transformer of CLIP, or none for random weights',
    'SAIP_TOKENIZER': "the file of a tokenizer's weights",
}
"""Environment variables that configurations read, and what they hold."""


def variable(name: str, default: str) -> str:
    """Read an environment variable in a configuration: its value as it is.

    mmengine's own ``{{$NAME:default}}`` pastes the value into the configuration's text, where a
    quote or a backslash in a path is read, and executed, as Python.

    Args:
        name: one of ``VARIABLES``.
        default: what stands for a variable that is not set.

    Raises:
        InputError: the variable is set, but empty.
    """
    value = os.environ.get(name, default)
    if not value.strip():
        raise InputError(explain_empty(name))
    return value


def number(name: str, default: str) -> float:
    """Read an environment variable in a configuration that holds a number from 0 on.

    Args:
        name: one of ``VARIABLES``.
        default: what stands for a variable that is not set.

    Raises:
        InputError: the variable is empty, or no such number.
    """
    text = variable(name, default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float('inf'):
        raise InputError(f'{name}={text}: it holds {VARIABLES[name]}')
    return value


def explain_empty(name: str) -> str:
    """Say what a variable that is set, but empty, may hold."""
    holds = VARIABLES.get(name, 'a value')
    return f'{name} is set, but empty: it holds {holds}; unset it for the default'
