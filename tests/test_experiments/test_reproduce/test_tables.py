"""Every row has configurations that resolve, and the paper's figures."""

import functools
import re

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import METRICS

from saip.checkpoint import load_checkpoint_file
from saip.engine.converters.timm import timm_to_saip
from saip.engine.launch import read_config
from saip.engine.options import parse_options
from saip.errors import InputError
from saip.experiments.backbone_configs import fitting_backbone_configs
from saip.experiments.reproduce.listings import HP1M
from saip.experiments.reproduce.tables import TABLES
from saip.experiments.reproduce.tasks import TASKS, stated_gpus
from saip.experiments.reproduce.weights import PUBLISHED
from saip.registry import MODELS
from tests.test_comparisons import test_figures as listing
from tests.tiny import ROOT

from .reproduce_files import ROWS

FRAGMENTS = ROOT / 'configs/_base_/backbones'
# The supervised rows, as they stand in Tables I to III of the paper: from its text.
SUPERVISED = """
StarNet-S3 | 90.5 65.8 55.4 44.8 79.1 71.9 | 71.9 75.1 50.5 62.4 52.4 61.9 | 89.2 45.3 50.9 49.4 36.9 33.8
CSPNeXt-S | 89.8 63.6 47.5 33.6 78.9 67.3 | 70.0 73.3 50.3 62.3 54.6 63.6 |
ViT-Tiny | 89.3 65.9 51.1 45.9 74.5 68.0 | 69.3 72.6 45.0 58.1 48.9 63.5 | 86.9 50.0 47.5 46.1 37.5 34.8
EdgeNeXt-S | 89.5 67.5 58.0 47.4 80.6 70.8 | 71.6 74.8 50.5 62.2 54.9 65.5 | 89.6 44.3 53.0 51.3 40.1 37.1
TinyViT-5M | 89.1 68.9 57.8 40.9 76.5 69.5 | 69.2 72.7 53.7 65.0 56.2 67.7 | 88.9 44.6 51.7 50.4 38.5 35.3
ResNet-18 | | | 86.9 48.7 51.3 49.6 35.2 32.8
"""  # noqa: E501
# Table IV from the paper's text: none, IN1K, and the rows on LUP1M.
TABLE_IV = ['77.1 65.8 40.6', '89.3 74.5 48.9', '92.3 78.6 49.6', '87.1 72.4 45.2',
            '89.1 75.2 47.8', '93.3 80.4 51.1', '92.2 79.1 50.7', '93.6 80.7 52.3']  # fmt: skip
# The columns of Tables I to VII: data set and figure.
COLUMNS = {
    'table1': 'market1501 msmt17 cuhk-pedes icfg-pedes pa100k petazs',
    'table2': 'coco:AP coco:AR wholebody:AP wholebody:AR lip:mIoU lip:mAcc',
    'table3': 'crowdhuman:AP crowdhuman:MR cihp:mIoU cihp:APp fashionpedia:box fashionpedia:mask',
    'table4': 'market1501 pa100k lip:mIoU',
    'table5': 'market1501 pa100k lip:mIoU',
    'table6': 'market1501 pa100k lip:mIoU',
    'table7': 'humanart chimpact ap10k',
    'cae': 'linear attentive imagenet ade20k coco-objects:box coco-objects:mask',
}


TUNED = [task for task in TASKS.values() if not task.protocol]


@pytest.mark.parametrize('task', TUNED, ids=lambda task: task.name)
def test_every_data_set_has_a_configuration_that_resolves(task):
    """Where one is missing the tables have rows that nobody can run."""
    path = ROOT / 'configs/downstream' / task.config
    assert path.is_file(), f'{task.name}: there is no configs/downstream/{task.config}'
    cfg = read_config(str(path))
    assert cfg.train_cfg.max_epochs > 1
    assert stated_gpus(path) in (1, 4, 8)
    evaluators = cfg.test_evaluator
    evaluator = evaluators[0] if isinstance(evaluators, list) else evaluators
    with METRICS.switch_scope_and_registry(cfg.default_scope) as metrics:
        named = evaluator.get('prefix') or metrics.get(evaluator.type).default_prefix
    for column in task.columns:
        prefix, slash, _ = column.metric.rpartition('/')
        assert (prefix if slash else None) == named


@pytest.mark.parametrize('task', TASKS.values(), ids=lambda task: task.name)
def test_the_section_of_every_data_set_is_there(task):
    heads = re.findall(r'^## (.+)$', (ROOT / task.page).read_text(), re.M)
    assert task.section in {head.lower().replace(' ', '-') for head in heads}


PRETRAININGS = {
    (row.weights.pretraining, row.weights.options): row
    for table, row in ROWS
    if row.weights.pretraining and table.name != 'cae'
}


@functools.cache
def pretraining(config: str, options: tuple[str, ...]) -> Config:
    return read_config(f'{ROOT}/configs/pretrain/{config}', parse_options(list(options)))


@pytest.mark.parametrize('row', PRETRAININGS.values(), ids=lambda row: row.weights.name)
def test_every_pretraining_resolves_and_is_of_the_row(row, monkeypatch):
    monkeypatch.delenv('SAIP_EXPERT', raising=False)
    weights = row.weights
    cfg = pretraining(weights.pretraining, weights.options)
    fragment = Config.fromfile(FRAGMENTS / f'{weights.encoder}.py').backbone
    assert fragment.items() <= cfg.model.backbone.items()
    assert cfg.train_cfg.max_epochs == 300
    assert cfg.train_dataloader.batch_size * stated_gpus(path_of(weights)) == 2048
    assert any(hook.type == 'saip.ExportBackboneHook' for hook in cfg.custom_hooks)
    sets = re.findall(r'/([A-Z0-9]+)\'', str(cfg.train_dataloader.dataset))
    assert sorted(dict.fromkeys(sets)) == sorted(weights.data)


def path_of(weights):
    return ROOT / 'configs/pretrain' / weights.pretraining


@pytest.mark.parametrize('names', ['csm', 'csr', 'css', 'csm-csr', 'csm-css', 'csm-csr-css'])
def test_a_subset_of_objectives_builds_with_these_alone(names):
    row = TABLES['table4'].find(names)
    cfg = pretraining(row.weights.pretraining, row.weights.options)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sorted(model.objectives) == names.split('-')
    assert row.note or names == 'none'


def test_tables_one_to_three_have_the_figures_of_the_paper():
    """Of the other methods the listing of tests/test_comparisons is the second source."""
    supervised = {}
    for line in SUPERVISED.strip().splitlines():
        encoder, *figures = (part.strip() for part in line.split('|'))
        supervised[encoder] = figures
    rows = 0
    for number, name in enumerate(('table1', 'table2', 'table3')):
        table = TABLES[name]
        assert len(table.rows) == 20
        for row in table.rows:
            method, encoder, data = row.words
            printed = [cell.paper for cell in row.cells]
            if method == 'Supervised':
                assert printed == supervised[encoder][number].split()
                assert data == ('AIC+COCO' if encoder == 'CSPNeXt-S' else 'IN1K')
            else:
                whole = listing.figures(method, encoder)
                assert printed == whole[6 * number : 6 * number + 6]
                assert data == 'LUP1M'
            rows += 1
    assert rows == 60
    assert sum(row.words[0] == 'Supervised' for _, row in ROWS) == 15 + 1


def test_the_other_tables_have_the_figures_of_the_paper():
    printed = {
        name: {row.name: ' '.join(c.paper for c in row.cells) for row in table.rows}
        for name, table in TABLES.items()
    }
    assert list(printed['table4'].values()) == TABLE_IV
    assert printed['table5'] == listing.TABLE_V
    shares = zip(*(row.split() for row in listing.TABLE_VI.values()), strict=True)
    assert list(printed['table6'].values()) == [' '.join(share) for share in shares]
    assert list(printed['table7'].values()) == list(listing.TABLE_VII.values())
    assert sum(HP1M.values()) == 1_218_136


@pytest.mark.parametrize('name', TABLES)
def test_columns_are_those_of_the_paper(name):
    for row in TABLES[name].rows:
        found = []
        for cell in row.cells:
            several = len(cell.task.columns) > 1
            task = cell.task.name.split('-lr')[0]  # the same with another rate
            found.append(f'{task}:{cell.column.title}' if several else task)
        assert [one.removesuffix(' AP') for one in found] == COLUMNS[name].split()


def test_shares_of_table_six_are_the_only_ones():
    for _, row in ROWS:
        for cell in row.cells:
            shortened = row in TABLES['table6'].rows
            assert cell.share == (float(row.name) if shortened else 1)


def test_what_the_paper_leaves_open_is_said():
    notes = ' '.join(TABLES['table7'].notes)
    assert 'common objects' in notes
    assert 'neither the table nor the text has a data set' in notes
    single = {TABLES['table4'].find(name).note for name in ('csm', 'csr', 'css')}
    assert len(single) == 1
    assert 'lost' in single.pop()
    assert 'CSR with CSS' in TABLES['table4'].find('csm-css').note


def test_an_unknown_row_is_named_with_the_known_ones():
    with pytest.raises(
        InputError, match=r'--run saip: table6 has no such row; choose one of 0.25'
    ):
        TABLES['table6'].find('saip')


TIMM = {name: one for name, one in PUBLISHED.items() if one.converter == 'timm_to_saip.py'}


@pytest.mark.parametrize('encoder', TIMM)
def test_published_weights_are_timms_and_become_the_encoders(encoder, tmp_path):
    """The tags exist; a file of that network is taken by the converter as it is called."""
    published = TIMM[encoder]
    known = timm.get_pretrained_cfg(published.name)
    assert known is not None
    assert published.url.endswith(known.hf_hub_id)
    assert published.name.endswith('in1k')
    assert '22k' not in published.name
    assert '21k' not in published.name
    torch.manual_seed(0)
    source, target = tmp_path / 'source.pth', tmp_path / 'target.pth'
    torch.save(timm.create_model(published.name.split('.')[0]).state_dict(), source)
    flag, name = published.arguments
    assert flag == '--model'
    timm_to_saip(source, target, name)
    meta = load_checkpoint_file(target)['meta']
    assert encoder in fitting_backbone_configs(meta['architecture'], FRAGMENTS)


def test_the_weights_of_cspnext_are_those_of_rtmpose():
    """mmpose's index of models has the file."""
    mmpose = pytest.importorskip('mmpose')
    from pathlib import Path

    index = Path(mmpose.__file__).parent / '.mim/configs/body_2d_keypoint/topdown_heatmap/coco'
    text = (index / 'cspnext_udp_coco.yml').read_text()
    published = PUBLISHED['cspnext-s']
    entry = text[text.index(f'Name: {published.name}') :]
    assert re.search(r'Weights: (\S+)', entry)[1] == published.url
    assert set(PUBLISHED) == set(TIMM) | {'cspnext-s'}
