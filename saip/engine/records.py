"""What a training and its results say of themselves, so that a result can be told from another.

A training leaves a description in its checkpoints (:data:`TRAINED` in their meta), and every
validation and test a small JSON record in ``WORK_DIR/records``: configuration, weights, data,
metrics, date. :mod:`saip.experiments.reproduce` reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from saip.checkpoint import file_sha256, load_checkpoint_file
from saip.datasets.files import SYNTHETIC, write_atomic
from saip.errors import InputError
from saip.version import __version__

TRAINED = 'trained'
"""Where the description of a training stands in the meta of its files."""

FOLDER = 'records'
"""Where the records lie, in a work directory."""

_TRAINING = (
    'model',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'custom_hooks',
    'randomness',
)
_NO_RESULT = {
    'batch_size',  # of a training it is counted for all processes together
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'val_interval',
    'val_begin',
    'work_dir',
    '_scope_',
}
"""Keys that change no weight and no figure."""

_WEIGHTS = ('init_cfg', 'init_from', 'checkpoint')
"""Keys of files with weights, which are known by their digests and not by their paths."""


def training_digest(cfg: Mapping[str, Any]) -> str:
    """SHA-256 of what a configuration says of its training, apart from weights and batch.

    Paths below SAIP_DATA are relative to it, so that another place of the data says the same.
    """
    content = {key: cfg.get(key) for key in _TRAINING}
    if isinstance(content['model'], Mapping):
        content['model'] = {k: v for k, v in content['model'].items() if k != 'test_cfg'}
    return _digest(content)


def evaluation_digest(cfg: Mapping[str, Any], phase: str) -> str:
    """The same of a validation (``val``) or a test (``test``), the model's structure included."""
    keys = ('model', *(f'{phase}_{part}' for part in ('dataloader', 'evaluator', 'cfg')))
    # Both may say the same, and then they are one evaluation.
    return _digest({key.removeprefix(f'{phase}_'): cfg.get(key) for key in keys})


def _digest(content: Mapping[str, Any]) -> str:
    root = os.environ.get('SAIP_DATA', 'data').rstrip('/')
    text = json.dumps(_plain(content, root), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(node: Any, root: str, key: str = '') -> Any:
    """What JSON knows of a part of a configuration, without weights and without places."""
    if isinstance(node, Mapping):
        return {
            str(k): _plain(value, root, str(k))
            for k, value in node.items()
            if k not in _NO_RESULT and k not in _WEIGHTS
        }
    if isinstance(node, list | tuple):
        return [_plain(item, root, key) for item in node]
    if key == 'keypoints':  # a file of the training images', wherever it lies
        return '$SAIP_KEYPOINTS'
    if node is None or isinstance(node, bool | int | float):
        return node
    text = str(node)
    if key == 'vocabulary' and Path(text).is_file():  # the same file in any place
        return f'sha256:{file_sha256(text)}'
    placed = key in ('data_root', 'ann_file', 'bbox_file')
    if placed and (text == root or text.startswith(f'{root}/')):
        return f'$SAIP_DATA{text.removeprefix(root)}'
    return text


def describe_training(cfg: Any, processes: int) -> dict[str, Any]:
    """Plain values that say what a configuration trains, for the meta of its checkpoints.

    Args:
        cfg: an mmengine ``Config``, before or after its weights were loaded.
        processes: that train together.

    Returns:
        ``config`` (folder and name), ``configs`` (digests, one unless a run was resumed with
        another configuration), ``batch`` (samples of an optimizer step), ``processes``, ``epochs``,
        ``schedule``, ``encoder``, and ``weights``: of each file that it begins with its key, name,
        SHA-256 and what it says of its own training.
    """
    loader, wrapper = cfg.get('train_dataloader') or {}, cfg.get('optim_wrapper') or {}
    accumulated = wrapper.get('accumulative_counts', 1)
    return {
        'config': '/'.join(Path(cfg.filename or 'unnamed').parts[-2:]),
        'configs': [training_digest(cfg)],
        'batch': loader.get('batch_size', 1) * accumulated * processes,
        'processes': processes,
        'epochs': (cfg.get('train_cfg') or {}).get('max_epochs'),
        'schedule': float(os.environ.get('SAIP_SCHEDULE', 1)),
        'encoder': os.environ.get('SAIP_BACKBONE') or _default_encoder(cfg),
        'weights': [_describe_file(key, path) for key, path in _weights(cfg)],
    }


def _default_encoder(cfg: Any) -> str:
    """The encoder that a configuration has where SAIP_BACKBONE is not set; '' if it reads none."""
    found = re.search(r'\$SAIP_BACKBONE:([\w.-]+)', cfg.text or '')
    return found[1] if found else ''


def _weights(cfg: Any) -> Iterator[tuple[str, str]]:
    """Key and path of each file with weights that a training begins with."""
    yield from _checkpoints(cfg.get('model') or {}, 'model')
    if cfg.get('load_from') and not cfg.get('resume'):
        yield 'load_from', str(cfg.load_from)


def _checkpoints(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == 'checkpoint' and isinstance(value, str):
                yield f'{place}.{key}', value
            else:
                yield from _checkpoints(value, f'{place}.{key}')
    elif isinstance(node, list | tuple):
        for number, item in enumerate(node):
            yield from _checkpoints(item, f'{place}.{number}')


def _describe_file(key: str, path: str) -> dict[str, Any]:
    if not Path(path).is_file():  # a library fetches it by its address
        return {'key': key, 'file': path, 'sha256': None, 'epoch': None, TRAINED: None}
    meta = load_checkpoint_file(path).get('meta') or {}
    return {
        'key': key,
        'file': Path(path).name,
        'sha256': file_sha256(path),
        'epoch': meta.get('epoch'),
        TRAINED: meta.get(TRAINED),
    }


def is_encoder(file: Mapping[str, Any]) -> bool:
    """Whether a file of a description holds the encoder that is trained, and no other part."""
    return str(file['key']).startswith('model.backbone.')


def continued(former: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a resumed training: its first weights, and every configuration.

    Args:
        former: of the checkpoint; None where an earlier version wrote it.
        now: of the configuration that goes on.
    """
    if former is None:
        return {**now, 'configs': ['unknown', *now['configs']]}
    added = [digest for digest in now['configs'] if digest not in former['configs']]
    same = former['batch'] == now['batch']
    return {
        **now,
        'configs': [*former['configs'], *added],
        'batch': now['batch'] if same else 0,  # of no batch, since it was changed
        'weights': former['weights'],
    }


@dataclass(frozen=True)
class ResultRecord:
    """The metrics of one validation or test.

    Attributes:
        phase: ``val`` or ``test``.
        config: folder and name of the configuration that was evaluated.
        evaluation: see :func:`evaluation_digest`.
        trained: see :func:`describe_training`; None where the checkpoint does not say it.
        epoch: after which the weights were evaluated.
        checkpoint: name of their file; '' during a training.
        data: folder of the evaluated set, whole path.
        drawn: whether the set was drawn by code.
        metrics: by their names in the log.
        date: in ISO format.
        version: of this package.
    """

    phase: str
    config: str
    evaluation: str
    trained: dict[str, Any] | None
    epoch: int
    checkpoint: str
    data: str
    drawn: bool
    metrics: dict[str, float]
    date: str = ''
    version: str = __version__

    def write(self, work_dir: str | Path) -> Path:
        """Write the record whole, in the place of an earlier one of the same; return its path."""
        name = Path(self.checkpoint).stem or f'epoch_{self.epoch}'
        path = Path(work_dir, FOLDER, f'{self.phase}_{name}_{self.evaluation[:8]}.json')
        dated = {**asdict(self), 'date': datetime.now().isoformat(timespec='seconds')}
        write_atomic(path, f'{json.dumps(dated, indent=1)}\n'.encode())
        return path


def read_result(path: Path) -> ResultRecord:
    """Read a record.

    Raises:
        InputError: the file holds something else.
    """
    try:
        return ResultRecord(**json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as error:
        raise InputError(f'{path}: no record of a result; remove it') from error


def find_results(folder: Path) -> list[tuple[Path, ResultRecord]]:
    """All records below a folder with their paths, the newest last."""
    found = [(path, read_result(path)) for path in folder.rglob(f'{FOLDER}/*.json')]
    return sorted(found, key=lambda pair: pair[1].date)


def describe_data(cfg: Any, phase: str) -> tuple[str, bool]:
    """Folder of the set that is evaluated, and whether it was drawn by code."""
    dataset = (cfg.get(f'{phase}_dataloader') or {}).get('dataset') or {}
    root = Path(str(dataset.get('data_root') or '.'))
    inside = Path(str(dataset.get('ann_file') or ''))
    # HumanArt's folder is named by the annotations, below the root.
    folders = [root, *(root / part for part in list(inside.parents)[:-1])]
    drawn = any((folder / SYNTHETIC).is_file() for folder in folders)
    return str(root.resolve()), drawn
