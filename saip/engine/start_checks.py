"""What is looked at before a training begins, so that it cannot go wrong in silence.

These checks read the configuration alone; those of :mod:`saip.engine.schedule_checks` need the
training set, and so do those of :mod:`saip.engine.keypoint_checks`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.engine.schedules import entries_of, kind_of
from saip.errors import StartError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def adapt_loaders(cfg: Config) -> None:
    """Take away what torch refuses without worker processes, in place.

    ``num_workers=0`` is an option of its own then: it needs no others beside it.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if isinstance(loader, dict) and not loader.get('num_workers'):
            if loader.get('persistent_workers'):
                loader['persistent_workers'] = False
            for key in ('prefetch_factor', 'timeout', 'multiprocessing_context'):
                loader.pop(key, None)


def refuse_used_folder(work_dir: str | os.PathLike, resumed: str | None = None) -> None:
    """Refuse to begin anew where another run has left its checkpoints.

    Its checkpoints would be overwritten one by one, and the best ones of two runs would stand
    side by side.

    Args:
        work_dir: folder of the run.
        resumed: the checkpoint that the run continues, where one is named. One of another folder
            makes a run of its own.

    Raises:
        StartError: the folder holds checkpoints of another run.
    """
    folder = Path(work_dir)
    if resumed is not None and _belongs_to(Path(resumed), folder):
        return
    patterns = ('epoch_*.pth', 'iter_*.pth', 'best_*.pth', 'last_checkpoint')
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if found:
        raise StartError(
            f'{folder} holds the checkpoints of a run ({found[0]}'
            f'{", ..." if len(found) > 1 else ""}), which a new one would overwrite: continue it '
            'with --resume, or choose another folder with --work-dir'
        )


def _belongs_to(checkpoint: Path, folder: Path) -> bool:
    """Whether a run writes its checkpoints where this one lies."""
    pointer = folder / 'last_checkpoint'
    # A name from the folder; earlier versions wrote the whole path.
    last = folder / (pointer.read_text().strip() if pointer.is_file() else 'none')
    here = checkpoint.resolve().parent
    return here in (folder.resolve(), last.resolve().parent)


def check_plateau(cfg: Config) -> None:
    """Refuse a schedule that waits for a metric of a validation that is turned off.

    One that sees too few validations to act, since they are rare, is warned of.

    Raises:
        StartError: ``param_scheduler`` reads a metric, and nothing is validated.
    """
    validates = cfg.get('val_cfg') is not None and cfg.get('val_dataloader')
    loop = cfg.get('train_cfg') or {}
    epochs, interval = loop.get('max_epochs'), loop.get('val_interval', 1)
    for key, entry in entries_of(cfg.get('param_scheduler')):
        if kind_of(entry)[0] != 'ReduceOnPlateau':
            continue
        metric = entry.get('monitor', 'loss')
        if not validates:
            raise StartError(
                f'{key} ({entry["type"]}) follows {metric} of the validation, which is turned off '
                '(--no-validate): the rate would stay at its first value. Validate, or set '
                'another param_scheduler'
            )
        patience = entry.get('patience', 10)
        # The best value and patience + 1 values that are no better come before the first step.
        if epochs and interval > 1 and epochs // interval < patience + 2:
            print(
                f'warning: {key} ({entry["type"]}) lowers the rate after {patience + 1} '
                f'validations without a better {metric}, but train_cfg.val_interval={interval} '
                f'makes {epochs // interval} in {epochs} epochs: the rate stays at its first value',
                file=sys.stderr,
            )


def reads_keypoints(cfg: Config) -> bool:
    """Whether a mask of a pretraining hides parts of the body, which keypoints show."""
    return bool(_part_masks(cfg))


def _part_masks(cfg: Config) -> list[tuple[str, Mapping[str, Any]]]:
    """Views with such masks, by name, and the masks."""
    views = ((cfg.get('model') or {}).get('data_preprocessor') or {}).get('views') or {}
    masks = {
        name: view.get('mask') for name, view in views.items() if isinstance(view, Mapping)
    }
    return [
        (name, mask)
        for name, mask in masks.items()
        if isinstance(mask, Mapping) and _class_name(mask) == 'PartMask'
    ]


def _class_name(config: Mapping[str, Any]) -> str:
    kind = config.get('type', '')
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def check_keypoints(cfg: Config) -> None:
    """Refuse masks of body parts on a set without keypoints, unless something stands in for them.

    Raises:
        StartError: ``train_dataloader.dataset`` is ours and names no file of keypoints.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if _class_name(dataset) != 'PersonImages' or dataset.get('keypoints'):
        return
    views = needing_keypoints(cfg)
    if views:
        raise StartError(
            f'parts of the body are hidden in {", ".join(views)}, and the data set has no '
            'keypoints: SAIP_KEYPOINTS (train_dataloader.dataset.keypoints) names their file, '
            'which tools/dataset_converters/make_keypoints.py makes, and SAIP_KEYPOINTS=none takes '
            f'a standing person in the shipped configs; or {others_than_error(views)}'
        )


def needing_keypoints(cfg: Config) -> list[str]:
    """Return the views whose masks refuse an image without keypoints."""
    return [
        name for name, mask in _part_masks(cfg) if mask.get('on_missing', 'error') == 'error'
    ]


def others_than_error(views: Sequence[str]) -> str:
    """Return what to give such views instead, as options of a command line."""
    keys = [f'model.data_preprocessor.views.{name}.mask.on_missing' for name in views]
    options = ' '.join(f'{key}=template' for key in keys)
    return f'add --cfg-options {options} (a standing person; or block: no parts are hidden)'
