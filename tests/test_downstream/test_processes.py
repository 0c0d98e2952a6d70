"""ReID, attributes and classes: two processes train together and report what one reports."""

from pathlib import Path

import pytest

pytest.importorskip('mmpretrain.models')

from saip.engine import launch
from saip.synthetic.formats import write_imagenet, write_market1501, write_pa100k
from tests.processes import in_processes
from tests.test_downstream.test_attributes.test_par import CONFIGS, SMALL
from tests.test_downstream.test_classification import small as classification
from tests.test_downstream.test_reid.test_run import MARKET, PEOPLE, small

SETS = {
    'reid': ('Market1501', write_market1501),
    'attributes': ('PA100K', write_pa100k),
    'classification': ('imagenet', write_imagenet),
}


def settings(task: str, root: Path, work_dir: Path) -> tuple[str, dict]:
    """Configuration and options of an epoch."""
    if task == 'reid':
        return MARKET, small(work_dir, str(root), PEOPLE)
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    data = {f'{loader}.dataset.data_root': str(root) for loader in loaders}
    if task == 'classification':
        one = {'train_cfg.max_epochs': 1, 'train_dataloader.batch_size': 8}
        config, options = classification.CONFIG, classification.SMALL | one
    else:
        config, options = str(CONFIGS['pa100k']), SMALL
    return config, {**options, **data, 'work_dir': str(work_dir)}


def train(task: str, root: Path, work_dir: Path) -> None:
    config, options = settings(task, root, work_dir)
    launch.train(config, options=options, launcher='pytorch')


def evaluate(task: str, root: Path, work_dir: Path, launcher: str) -> dict[str, float]:
    config, options = settings(task, root, work_dir)
    checkpoint = str(work_dir / 'epoch_1.pth')
    return launch.evaluate(config, checkpoint, options=options, launcher=launcher)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
@pytest.mark.parametrize('task', SETS)
def test_two_processes_report_what_one_reports(task, tmp_path):
    folder, write = SETS[task]
    write(tmp_path / folder)
    arguments = task, tmp_path / folder, tmp_path / 'work'
    in_processes(2, tmp_path, train, *arguments)
    one, other = in_processes(2, tmp_path, evaluate, *arguments, 'pytorch')
    assert one == other
    assert one == pytest.approx(evaluate(*arguments, 'none'), rel=1e-5)
