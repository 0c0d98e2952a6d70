"""Sets whose number of classes is a configuration's, looked at before hours of pretraining."""

from __future__ import annotations

from mmengine.registry import DATASETS, DefaultScope

from saip.downstream.class_count import compare_class_count
from saip.errors import InputError
from saip.experiments.reproduce.plan import Settings
from saip.experiments.reproduce.tables import Row

_COUNTED_BY = {
    'saip.IdentityCountHook': 'training identities',
    'saip.ClassCountHook': 'classes',
}
"""Hooks that compare the numbers when a fine-tuning begins, and what their classes are."""

_PARTS = ('head', 'data_preprocessor')
"""Of a model, which may state the number."""


def check_class_counts(row: Row, settings: Settings, task: str | None = None) -> None:
    """Compare the classes that a row's models state with those of their training sets.

    The fine-tuning does it, too, but only once the pretraining before it has ended.

    Args:
        row: whose data are there.
        settings: of all commands.
        task: the only one to look at.

    Raises:
        InputError: the numbers differ.
    """
    for cell in {cell.task.name: cell for cell in row.cells}.values():
        if task not in (None, cell.task.name) or cell.task.protocol:
            continue
        cfg = settings.read_task(cell, row.weights)
        hooks = (hook['type'] for hook in cfg.get('custom_hooks', ()))
        called = next((_COUNTED_BY[hook] for hook in hooks if hook in _COUNTED_BY), None)
        if called is None:
            continue
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset = DATASETS.build(cfg.train_dataloader.dataset | {'pipeline': []})
        stated = {
            f'model.{part}.num_classes': cfg.model[part].num_classes
            for part in _PARTS
            if 'num_classes' in cfg.model.get(part, {})
        }
        fault = compare_class_count(stated, dataset, called)
        if fault is not None:
            raise InputError(
                f'{cell.task.name}: {fault.text}; if the set is complete, run this task by itself: '
                f'--run {row.name}:{cell.task.name} --cfg-options {fault.options}'
            )
