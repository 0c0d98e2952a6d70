"""Documents and configs repeat the figures of the paper's tables as they are printed there."""

import re
from pathlib import Path

import pytest

from tests.test_comparisons.method_runs import CONFIGS
from tests.tiny import ROOT

# Rows in the order of the paper: Table I | Table II | Table III.
#   I: Market1501, MSMT17, CUHK-PEDES, ICFG-PEDES (Rank-1), PA100K, PETAzs (mA)
#   II: COCO AP and AR, WholeBody AP and AR, LIP mIoU and mAcc
#   III: CrowdHuman AP and MR, CIHP mIoU and APp, Fashionpedia AP of boxes and of masks
ROWS = """
DINO ViT-Tiny | 90.5 65.8 55.3 40.2 77.4 69.3 | 69.3 72.6 43.9 57.1 48.7 59.3 | 86.1 51.6 46.9 45.7 35.4 32.9
MAE ViT-Tiny | 79.7 39.9 36.6 19.1 68.3 61.1 | 67.0 70.6 40.1 52.7 43.5 54.0 | 83.7 56.5 45.8 44.4 32.0 30.3
MAE+DINO ViT-Tiny | 89.2 61.6 52.7 37.7 72.9 66.5 | 69.9 73.2 45.1 58.2 49.8 60.3 | 86.4 50.2 47.4 46.2 37.7 35.2
HAP ViT-Tiny | 81.6 42.4 40.2 20.4 66.3 64.1 | 68.8 72.3 42.6 55.4 44.4 54.5 | 83.3 57.5 44.1 42.8 33.0 30.4
SOLIDER ViT-Tiny | 91.6 69.2 55.5 40.7 78.6 69.4 | 69.3 72.6 44.2 57.2 48.9 59.2 | 85.7 51.9 46.8 45.7 36.7 34.2
SAIP ViT-Tiny | 93.6 75.6 59.2 46.1 80.7 71.4 | 70.1 73.3 45.7 58.7 52.3 63.3 | 87.1 49.6 48.2 46.9 38.0 35.5
SAIP* ViT-Tiny | 95.2 83.1 65.9 56.9 82.7 72.4 | 70.9 74.1 46.3 59.6 55.2 67.6 | 87.2 49.4 49.2 47.8 38.0 35.4
DINO StarNet-S3 | 89.1 60.6 48.5 36.1 76.2 68.8 | 71.1 74.3 49.5 60.8 51.4 60.1 | 86.6 48.7 50.2 49.1 32.7 29.9
SOLIDER StarNet-S3 | 89.9 61.9 49.9 38.4 77.4 69.3 | 71.5 74.5 49.9 61.3 52.1 60.8 | 86.1 52.1 50.0 49.1 34.3 31.5
SAIP StarNet-S3 | 92.0 66.1 52.9 41.3 78.1 70.9 | 72.7 75.7 50.0 61.6 52.7 61.7 | 88.1 47.4 50.3 48.6 33.9 31.3
SAIP* StarNet-S3 | 95.3 83.4 65.4 56.7 83.6 73.2 | 72.3 75.5 52.7 64.2 54.3 63.6 | 88.8 45.5 52.9 51.2 37.9 35.0
DINO TinyViT-5M | 89.4 57.9 46.5 35.0 78.6 70.1 | 65.4 68.8 51.6 62.8 55.9 66.0 | 88.9 43.6 49.8 48.9 36.1 33.4
SOLIDER TinyViT-5M | 89.8 59.9 47.1 34.9 79.0 70.3 | 65.7 69.0 51.5 62.7 56.2 66.7 | 89.5 43.3 49.9 48.9 35.9 33.2
SAIP TinyViT-5M | 94.1 73.5 59.6 47.7 82.1 72.8 | 72.1 75.0 53.9 65.2 58.3 68.8 | 90.5 40.4 51.8 50.7 39.2 35.8
SAIP* TinyViT-5M | 96.0 84.6 66.2 53.2 83.5 74.8 | 73.3 76.2 54.2 65.5 57.0 67.9 | 90.6 41.3 53.4 52.2 41.3 38.1
"""  # noqa: E501
# Table V, SAIP's ViT-Tiny by pretraining data: Market1501 Rank-1, PA100K mA, LIP mIoU.
TABLE_V = {
    'in1k': '90.2 77.8 50.1',
    'hp1m': '93.9 80.9 53.0',
    'lup1m': '93.6 80.7 52.3',
    'lup2m': '93.7 80.4 52.6',
    'lup4m': '93.9 80.9 52.4',
    'lup1m-in1k': '93.8 81.4 52.4',
    'lup1m-hp1m': '94.0 81.7 52.9',
    'lup1m-hp1m-in1k': '94.4 82.3 53.6',
}
# Table VI, the same three with a quarter, a half, three quarters and all of the fine-tuning.
TABLE_VI = {
    'transreid_market1501': '91.2 93.6 93.6 93.6',
    'par_pa100k': '80.6 80.8 81.1 80.7',
    'schp_lip': '51.7 52.0 52.3 52.3',
}
# Table VII, pose AP of ViT-Tiny on HumanArt, Chimpact-Pose and AP-10K.
TABLE_VII = {
    'DINO': '65.7 16.1 58.0',
    'MAE': '65.1 13.9 48.8',
    'MAE+DINO': '67.4 18.2 59.5',
    'HAP': '66.0 13.2 50.5',
    'SOLIDER': '66.7 16.0 57.4',
    'SAIP': '67.5 18.2 60.8',
}
PAGES = {
    'dino': 'DINO',
    'hap': 'HAP',
    'mae': 'MAE',
    'mae-dino': 'MAE+DINO',
    'solider': 'SOLIDER',
}
METHODS = {**PAGES, 'saip': 'SAIP', 'saip-official': 'SAIP', 'saip-star': 'SAIP*'}
ENCODERS = {'vit-tiny-p16': 'ViT-Tiny', 'starnet-s3': 'StarNet-S3', 'tinyvit-5m': 'TinyViT-5M'}
# Configs of a fine-tuning: the table, and the places there of the metrics that they state.
TASKS = {
    'reid/transreid_market1501': ('I', {'Rank-1': 0}),
    'reid/transreid_msmt17': ('I', {'Rank-1': 1}),
    'text_reid/irra_cuhk-pedes': ('I', {'Rank-1': 2}),
    'text_reid/irra_icfg-pedes': ('I', {'Rank-1': 3}),
    'attributes/par_pa100k': ('I', {'mA': 4}),
    'attributes/par_petazs': ('I', {'mA': 5}),
    'pose/vitpose_coco': ('II', {'AP': 6, 'AR': 7}),
    'pose/vitpose_wholebody': ('II', {'AP': 8, 'AR': 9}),
    'pose/vitpose_humanart': ('VII', {'AP': 0}),
    'pose/vitpose_ap10k': ('VII', {'AP': 2}),
    'pose/vitpose_chimpact': ('VII', {'AP': 1}),
    'part_segmentation/schp_lip': ('II', {'mIoU': 10, 'mAcc': 11}),
    'detection/crowddet_crowdhuman': ('III', {'AP': 12, 'MR': 13}),
    'human_parsing/parsing-rcnn_cihp': ('III', {'mIoU': 14, 'AP^p': 15}),
    'part_attributes/ke-rcnn_fashionpedia': ('III', {'AP^box': 16, 'AP^segm': 17}),
}
NUMBER = r'\d+\.\d'


def numbers(text: str) -> list[str]:
    return re.findall(NUMBER, text)


def figures(method: str, encoder: str) -> list[str]:
    """The 18 figures of a row of Tables I to III."""
    (row,) = re.findall(rf'^{re.escape(method)} {encoder} \|(.*)$', ROWS, re.M)
    found = numbers(row)
    assert len(found) == 18
    return found


def pairs(values: list[str]) -> list[str]:
    return [f'{one}/{other}' for one, other in zip(values[::2], values[1::2], strict=True)]


@pytest.mark.parametrize(('page', 'method'), PAGES.items())
def test_the_tables_of_a_method_on_its_page(page, method):
    """Every column of every encoder, and no row that the paper does not have."""
    text = (ROOT / f'docs/comparisons/{page}.md').read_text()
    section = text[text.index('## Figures of the paper') :]
    encoders = re.findall(rf'^{re.escape(method)} (\S+) \|', ROWS, re.M)
    rows = re.findall(r'^\| (\S+) \| (.*\d.*) \|$', section, re.M)
    assert [name for name, _ in rows] == encoders
    for encoder, row in rows:
        values = figures(method, encoder)
        reid, attributes = ', '.join(values[:4]), ', '.join(values[4:6])
        assert row.split(' | ') == [reid, attributes, *pairs(values[6:])]
    (others,) = re.findall(r'^Table VII[^:\n]*: (.*?\d)\.(?= |$)', section, re.M)
    assert others.split(', ') == TABLE_VII[method].split()


def test_the_order_of_the_columns():
    section = (ROOT / 'docs/comparisons/dino.md').read_text()
    section = section[section.index('## Figures of the paper') :]
    assert ' '.join(section.split('\n| encoder')[0].split('\n\n')[1].split()) == (
        'Of the student, as the paper keeps it. '
        'ReID: Rank-1 of Market1501, MSMT17, CUHK-PEDES, ICFG-PEDES. Attributes: mA of PA100K, '
        'PETAzs. Pose: AP/AR of COCO, WholeBody. Parsing: mIoU/mAcc of LIP. CrowdHuman: AP/MR. '
        'CIHP: mIoU/APp. Fashionpedia: box AP/mask AP.'
    )
    columns = 'encoder ReID attributes COCO WholeBody LIP CrowdHuman CIHP Fashionpedia'
    for page in PAGES:
        text = (ROOT / f'docs/comparisons/{page}.md').read_text()
        assert f'| {" | ".join(columns.split())} |' in text, page


def stating(folder: Path) -> dict[Path, str]:
    """Configs that state figures of the paper in their first lines, and these lines."""
    found = {}
    for path in sorted(folder.glob('*/*.py')):
        head = [line for line in path.read_text().splitlines()[:6] if line.startswith('#')]
        lines = [line for line in head if re.search(f'[Pp]aper,? .*Table.*{NUMBER}', line)]
        if lines and '_base_' not in path.parts:
            (found[path],) = lines
    return found


def test_pretraining_configs_open_with_the_figures_of_their_run():
    seen = set()
    for path, line in stating(CONFIGS).items():
        preset, encoder, *_, data = path.stem.split('_')
        method, encoder = METHODS[preset], ENCODERS[encoder.removesuffix('-os16')]
        if 'Table V:' in line:
            assert (method, encoder) == ('SAIP', 'ViT-Tiny')
            table, wanted = 'Table V', TABLE_V[data].split()
        else:
            assert data == 'lup1m'
            values = figures(method, encoder)
            table, wanted = 'Tables I and II', [values[0], values[4], values[10]]
        reid, attributes, parsing = wanted
        assert (
            f'Paper, {table}: Market1501 Rank-1 {reid}, PA100K mA {attributes}, LIP mIoU {parsing}'
        ) in line, path.stem
        assert len(numbers(line)) == 3
        seen.add((method, encoder, data))
    on_lup1m = {(*row.split(' |')[0].split(), 'lup1m') for row in ROWS.strip().splitlines()}
    assert seen == on_lup1m | {('SAIP', 'ViT-Tiny', data) for data in TABLE_V}


def stated(task: str) -> tuple[str, str]:
    """Table, and metrics of SAIP's ViT-Tiny as text."""
    table, places = TASKS[task]
    values = TABLE_VII['SAIP'].split() if table == 'VII' else figures('SAIP', 'ViT-Tiny')
    return table, ', '.join(f'{name} {values[place]}' for name, place in places.items())


def test_fine_tuning_configs_open_with_the_figures_of_saip():
    found = stating(ROOT / 'configs/downstream')
    tasks = {path: f'{path.parent.name}/{path.stem}' for path in found}
    # Leaves with other settings state the figures of the task.
    own = {'reid': 'transreid', 'attributes': 'par', 'part_segmentation': 'schp'}
    for path, task in tasks.items():
        if '-settings_' in task:
            tasks[path] = f'{path.parent.name}/{own[path.parent.name]}_{task.split("_")[-1]}'
        for other in ('-coco', '-annotated-boxes'):
            tasks[path] = tasks[path].removesuffix(other)
    assert set(tasks.values()) == set(TASKS)
    for path, line in found.items():
        table, text = stated(tasks[path])
        assert line.startswith(f'# SAIP ViT-Tiny in the paper (Table {table}): {text}')
        assert len(numbers(line)) == len(numbers(text))


def test_the_document_of_fine_tuning_states_the_same_figures():
    document = (ROOT / 'docs/downstream.md').read_text()
    for task in TASKS:
        name = f'`configs/downstream/{task}.py`'
        (row,) = (line for line in document.splitlines() if line[:1] == '|' and name in line)
        table, text = stated(task)
        above = document[: document.index(row)].splitlines()
        title = next(
            line for line in reversed(above) if line.startswith('| ') and '`' not in line
        )
        row = row.replace('<sup>', '^').replace('</sup>', '')
        assert row.endswith((f'| {text} |', f'| {text} (Table {table}) |'))
        assert f'(Table {table})' in title + row
    for name, row in TABLE_VI.items():
        (line,) = re.findall(rf'^\| `{name}`, .*$', document, re.M)
        assert numbers(line) == row.split()


def test_the_readme_states_table_v_and_the_fine_tuned_saip():
    readme = (ROOT / 'README.md').read_text()
    rows = re.findall(
        r'^\| [^|]+ \| \[([\w-]+)\]\(configs/pretrain/\S+\) \| (.+) \|$', readme, re.M
    )
    assert {data: row.replace(' | ', ' ') for data, row in rows} == TABLE_V
    seen = set()
    for line in re.findall(r'^\| .*configs/downstream/\w+/[\w-]+\.py.*$', readme, re.M):
        tasks = re.findall(r'configs/downstream/(\w+/[\w-]+)\.py', line)
        cell = line.strip('| ').split(' | ')[-1]
        first = [numbers(stated(task)[1])[0] for task in tasks]
        if len(tasks) == 1:  # the first figures of the one task
            first = numbers(stated(tasks[0])[1])[: len(numbers(cell))]
        assert numbers(cell) == first
        seen |= set(tasks)
    assert seen == set(TASKS)
