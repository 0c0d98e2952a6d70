"""A row of every task, from pretraining to the figure in its table, on people drawn by code."""

import json
import re
import shutil

import pytest

from saip.synthetic.formats import DATASETS
from tests.tools import call_tool

pytestmark = pytest.mark.slow
TASKS = {
    'market1501': 'table1',
    'pa100k': 'table1',
    'coco': 'table2',
    'wholebody': 'table2',
    'lip': 'table2',
    'crowdhuman': 'table3',
    'cuhk-pedes': 'table1',
    'cihp': 'table3',
    'fashionpedia': 'table3',
    'humanart': 'table7',
    'chimpact': 'table7',
    'ap10k': 'table7',
}
LOADERS = [f'{loader}_dataloader.num_workers=0' for loader in ('train', 'val', 'test')]


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """Drawn sets, and images to pretrain on; the pretraining is done once, by the first task."""
    root = tmp_path_factory.mktemp('rows')
    for name in TASKS:
        folder, write = DATASETS[name.replace('-', '_')]
        write(root / 'people' / folder)
    shutil.copytree(root / 'people/Market1501/bounding_box_train', root / 'people/LUP1M')
    return root


@pytest.mark.parametrize('task', TASKS)
def test_a_row_runs_to_its_figure(work, monkeypatch, capsys, task):
    monkeypatch.chdir(work)
    monkeypatch.setenv('SAIP_DATA', 'people')
    for name in ('SAIP_TEXT_INIT', 'SAIP_BPE'):
        monkeypatch.setenv(name, 'none')
    table = TASKS[task]
    row = 'mae' if table == 'table7' else 'mae_vit-tiny-p16'
    batch = 8 if task == 'market1501' else 4
    options = [f'train_dataloader.batch_size={batch}', *LOADERS]
    if task == 'market1501':
        people = {p.name[:4] for p in (work / 'people/LUP1M').glob('*.jpg')}
        options.append(f'model.head.num_classes={len(people)}')
    if task == 'cuhk-pedes':
        rows = json.loads((work / 'people/CUHK-PEDES/reid_raw.json').read_text())
        people = {row['id'] for row in rows if row['split'] == 'train'}
        options.append(f'model.head.num_classes={len(people)}')
    arguments = [
        table, '--run', f'{row}:{task}', '--schedule', '0.02', '--gpus', '1',
        '--pretrain-options', 'train_dataloader.batch_size=8', *LOADERS[:2],
        '--cfg-options', *options, '--markdown', f'{task}.md',
    ]  # fmt: skip
    assert call_tool(monkeypatch, 'reproduce.py', *arguments) == 0
    page = (work / f'{task}.md').read_text()
    assert "**Not the paper's setting: schedule: 0.02 of every schedule.**" in page
    name = '| MAE | ViT-Tiny |' if table != 'table7' else '| MAE |'
    (line,) = (line for line in page.splitlines() if line.startswith(name))
    share = '10%' if task == 'lip' else '2%'
    text = 'text transformer from random weights, ' if task == 'cuhk-pedes' else ''
    figure = (
        r'\*\*\d+\.\d \([+-]\d+\.\d\)\*\* '
        rf'\[people drawn by code, {text}{share} of the schedule, '
    )
    # Tasks that ran before may stand in the same line.
    assert len(re.findall(figure, line)) >= (1 if table in ('table1', 'table7') else 2)
    capsys.readouterr()
    # Everything is there now, and nothing is done again.
    assert call_tool(monkeypatch, 'reproduce.py', *arguments) == 0
    assert capsys.readouterr().err.count('there already') == 3
