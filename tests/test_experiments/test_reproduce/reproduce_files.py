"""Settings, rows and records for tests of the tables by command."""

from pathlib import Path

from saip.engine.records import ResultRecord, describe_data, evaluation_digest
from saip.experiments.finetune_job import environment
from saip.experiments.reproduce.found import _Beginning
from saip.experiments.reproduce.plan import Settings, digest_of
from saip.experiments.reproduce.tables import TABLES, Cell, Row
from tests.tiny import ROOT

ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


def settings(folder: Path, **options) -> Settings:
    return Settings(ROOT, folder / 'out', str(folder / 'data'), **options)


def there(one: Settings, cell: Cell) -> bool:
    """Whether a data set's configuration is there; another test asks that all are."""
    return one.task_config(cell).is_file()


def record(row: Row, cell: Cell, one: Settings, **changes) -> ResultRecord:
    """What a finished row would leave, with changes; those of ``trained`` by their names."""
    cfg, config = one.read_task(cell, row.weights), one.task_config(cell)
    phase = changes.get('phase', 'test')
    weights = []
    if row.weights.pretraining:
        wanted = _Beginning(row.weights, one)
        trained = {'configs': [wanted.pretraining], 'batch': wanted.batch, 'weights': []}
        key = 'model.backbone.init_cfg.checkpoint'
        weights = [
            {
                'key': key,
                'file': 'b.pth',
                'sha256': 'f' * 64,
                'epoch': wanted.epochs,
                'trained': trained,
            }
        ]
    trained = {
        'config': cell.task.config,
        'configs': [digest_of(cfg, one)],
        'batch': one.whole_batch(config, cfg),
        'processes': one.processes(config),
        'epochs': cfg.train_cfg.max_epochs,
        'schedule': one.share_of(cell),
        'encoder': row.weights.encoder,
        'weights': weights,
    }
    trained |= {key: changes.pop(key) for key in list(changes) if key in trained}
    last = f'epoch_{cfg.train_cfg.max_epochs}.pth'
    with environment({'SAIP_DATA': one.data}):
        evaluation = evaluation_digest(cfg, phase)
    values = {
        'phase': phase,
        'config': cell.task.config,
        'evaluation': evaluation,
        'trained': trained,
        'epoch': cfg.train_cfg.max_epochs,
        'checkpoint': last if cell.task.tested == 'last' else f'best_x_{last}',
        'data': describe_data(cfg, phase)[0],
        'drawn': False,
        'metrics': {column.metric: 0.5 for column in cell.task.columns},
    }
    return ResultRecord(**{**values, **changes})
