"""Sets whose number of identities is a configuration's, looked at before hours of pretraining."""

from __future__ import annotations

from mmengine.registry import DATASETS, DefaultScope

from saip.errors import InputError
from saip.experiments.reproduce.plan import Settings
from saip.experiments.reproduce.tables import Row

_COUNTED_BY = 'saip.IdentityCountHook'


def check_identities(row: Row, settings: Settings, task: str | None = None) -> None:
    """Compare the classes of a row's heads with the identities of their training sets.

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
        if all(hook['type'] != _COUNTED_BY for hook in cfg.get('custom_hooks', ())):
            continue
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset = DATASETS.build(cfg.train_dataloader.dataset | {'pipeline': []})
        found, stated = len(dataset.metainfo['classes']), cfg.model.head.num_classes
        if found != stated:
            raise InputError(
                f'{cell.task.name}: model.head.num_classes={stated}, but {dataset.data_root} has '
                f'{found} training identities; if the set is complete, run this task by itself: '
                f'--run {row.name}:{cell.task.name} --cfg-options model.head.num_classes={found}'
            )
