"""A report as Markdown and as a page; Tables VIII and IX and the figures."""

import json
import re
from html.parser import HTMLParser

import pytest

from saip.datasets.crops import Crop
from saip.datasets.manifest import MANIFEST_NAME, Entry, write_manifest
from saip.experiments.reproduce.found import Records
from saip.experiments.reproduce.listings import HP1M, LISTINGS, report_listing
from saip.experiments.reproduce.markdown import write_markdown
from saip.experiments.reproduce.page import write_html
from saip.experiments.reproduce.report import report_table
from saip.experiments.reproduce.tables import TABLES
from tests.tools import call_tool

from .reproduce_files import record, settings

TABLE = TABLES['table6']
ROW = TABLE.find('1')


class Cells(HTMLParser):
    """Texts of the cells of a table's body, row by row; sees that every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in ('meta', '!doctype'):
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if 'td' in self.open or 'th' in self.open:
            self.rows[-1][-1] += ('|' if self.rows[-1][-1] else '') + data


@pytest.fixture
def report(tmp_path):
    """Table VI with one figure found, one in training and one of another batch."""
    one = settings(tmp_path)
    market, attributes, parts = ROW.cells
    record(ROW, market, one, metrics={'reid/Rank-1': 94.0}).write(tmp_path / 'a')
    running = dict(phase='val', epoch=5, checkpoint='', metrics={'attributes/mA': 70.0})
    record(ROW, attributes, one, **running).write(tmp_path / 'b')
    record(ROW, parts, one, batch=16).write(tmp_path / 'c')
    return report_table(TABLE, one, Records.read([tmp_path]))


def test_markdown_is_a_table_with_what_has_been_found(report):
    page = write_markdown(report)
    table = [
        line.strip('| ').split(' | ') for line in page.splitlines() if line.startswith('| ')
    ]
    assert {len(cells) for cells in table} == {4}
    assert table[0] == ['schedule', 'Market-1501 Rank-1', 'PA-100K mA', 'LIP mIoU']
    assert table[2] == ['25%', '91.2 / -', '80.6 / -', '51.7 / -']
    last = table[-1]
    assert re.fullmatch(r'93\.6 / \*\*94\.0 \(\+0\.4\)\*\* \[\d{4}-\d\d-\d\d\]', last[1])
    assert last[2:] == ['80.7 / epoch 5 of 25: 70.0 in validation', '52.3 / -']
    assert 'not shown: LIP, test of ' in page
    assert 'a batch of 16, not 96' in page
    assert page.count('make_luperson.py') == 1  # once for all four rows
    assert 'bash tools' not in page
    assert 'dist_train.sh' in write_markdown(report, commands=True)


def test_the_page_is_the_same_table(report):
    page = write_html(report)
    cells = Cells(page)
    assert cells.open == []
    groups, heads, *rows = cells.rows
    assert groups[1:] == ['Market-1501', 'PA-100K', 'LIP']
    assert heads == ['schedule', 'Rank-1', 'mA', 'mIoU']
    assert [row[0] for row in rows] == ['25%', '50%', '75%', '100%']
    assert rows[0][1:] == ['91.2', '80.6', '51.7']
    assert rows[3][1].startswith('93.6|94.0 (+0.4)|')
    assert rows[3][2] == '80.7|epoch 5 of 25: 70.0 in validation'
    assert page.count('class="found ahead"') == 1
    assert page.count('<details>') == 4
    assert 'http' not in re.sub(r'<pre>.*?</pre>|<li>.*?</li>', '', page, flags=re.S)


def test_trials_say_that_they_are_none_of_the_papers_settings(tmp_path):
    trial = settings(tmp_path, schedule=0.02, options=('a.b="<x>"',))
    report = report_listing('table8', trial)
    assert "**Not the paper's setting: schedule: 0.02 of every schedule.**" in write_markdown(
        report
    )
    assert 'fine-tuning options: a.b=&quot;&lt;x&gt;&quot;' in write_html(report)


def test_table_eight_is_what_the_configuration_says(tmp_path):
    report = report_listing('table8', settings(tmp_path))
    entries = {line.words[0]: line.entries[0] for line in report.lines}
    assert all(entry.found == entry.paper for entry in entries.values())
    assert entries['Base Learning Rate'].paper == '2.5e-4'
    other = ('optim_wrapper.optimizer.weight_decay=0.1', 'train_dataloader.batch_size=64')
    changed = report_listing('table8', settings(tmp_path, pretrain_options=other))
    entries = {line.words[0]: line.entries[0] for line in changed.lines}
    assert (entries['Weight Decay'].found, entries['Weight Decay'].better) == ('0.1', False)
    assert entries['Batch Size per gpu'].found == '64'


def test_table_nine_counts_the_manifest(tmp_path):
    one = settings(tmp_path)
    lines = {line.words[0]: line for line in report_listing('table9', one).lines}
    assert list(lines) == [*HP1M, 'Total']
    assert lines['Total'].entries[0].paper == '1,218,136'
    assert lines['Total'].entries[0].found == ''
    assert not lines['AIC'].needs[0].there
    folder = tmp_path / 'data/HP1M'
    folder.mkdir(parents=True)
    names = [
        'aic/a.jpg',
        'coco/train2017/b.jpg',
        'coco/train2017/c.jpg',
        'HumanArt/images/d.jpg',
    ]
    write_manifest(folder / MANIFEST_NAME, '..', [Entry(Crop(name), 8, 8) for name in names])
    lines = {line.words[0]: line for line in report_listing('table9', one).lines}
    found = {name: line.entries[0].found.split(' ')[0] for name, line in lines.items()}
    assert found == {**dict.fromkeys(HP1M, '0'), 'AIC': '1', 'COCO': '2', 'HumanArt': '1', 'Total': '4'}  # fmt: skip  # noqa: E501


def test_figures_have_the_commands_of_the_drawing_tools(tmp_path):
    one = settings(tmp_path)
    (line,) = report_listing('figure5', one).lines
    draw = line.steps[-1]
    assert len([step for step in line.steps if step.kind == 'pretrain']) == 7
    shell = draw.shell()
    assert shell.startswith('python tools/visualization/draw_attention.py DINO="$(ls ')
    assert """ 'SAIP*'="$(ls """ in shell
    curves = report_listing('figure4', one).lines
    assert [line.name for line in curves] == ['market1501', 'pa100k', 'lip']
    step = curves[0].steps[-1]
    points = [
        {'epoch': e, 'metrics': {'reid/Rank-1': v}} for e, v in ((200, 93.0), (300, 92.0))
    ]
    step.makes.parent.mkdir(parents=True)
    step.makes.with_suffix('.json').write_text(json.dumps({'points': points}))
    entry = report_listing('figure4', one).lines[0].entries[0]
    assert (entry.paper, entry.found) == ('epoch 200', 'epoch 200, of 2 (93.0)')


@pytest.mark.parametrize('name', [*TABLES, *LISTINGS])
def test_the_tool_writes_every_table(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('SAIP_DATA', 'nowhere')
    assert call_tool(monkeypatch, 'reproduce.py', name, '--html', 'page.html') == 0
    cells = Cells((tmp_path / 'page.html').read_text())
    assert cells.open == []
    assert len(cells.rows) > 1
    assert capsys.readouterr().out.splitlines()[-1] == 'page.html'
