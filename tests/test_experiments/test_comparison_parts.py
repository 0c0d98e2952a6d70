"""Rows, lengths, tables of a comparison: what needs no training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from saip.datasets.person_images import PersonImages
from saip.experiments.compare.evaluation import Evaluated
from saip.experiments.compare.length import TrainSet, plan_length
from saip.experiments.compare.records import open_record, read_record
from saip.experiments.compare.rows import parse_rows, parse_weights
from saip.experiments.compare.summary import RowResults, summarize, write_markdown
from saip.experiments.compare.surroundings import describe_surroundings, read_commit
from saip.visualization.comparison import draw_comparison
from tests.tiny import ROOT

METHODS = ROOT / 'configs/pretrain/_base_/methods'


# Rows


def test_rows_are_methods_ablations_and_weights(tmp_path):
    weights = {'imagenet': tmp_path / 'x.pth'}
    texts = [
        'saip-small',
        'saip-small:model.objectives.css=None,optim_wrapper.optimizer.betas=(0.9,0.99)',
        'imagenet+saip',
        'imagenet',
    ]
    rows = parse_rows(texts, METHODS, weights)
    assert [(row.method, row.weights) for row in rows] == [
        ('saip-small', None),
        ('saip-small', None),
        ('saip', 'imagenet'),
        (None, 'imagenet'),
    ]
    options = ('model.objectives.css=None', 'optim_wrapper.optimizer.betas=(0.9,0.99)')
    assert rows[1].options == options
    assert [row.name for row in rows] == [
        'saip-small',
        'saip-small: css=None, optim_wrapper.optimizer.betas=(0.9,0.99)',
        'imagenet+saip',
        'imagenet',
    ]
    folders = [row.folder for row in rows]
    assert folders[::2] == ['saip-small', 'imagenet+saip']
    assert all(re.fullmatch(r'[\w.+=-]{1,100}', folder) for folder in folders)
    assert len(set(folders)) == 4


def test_texts_that_differ_in_a_bracket_have_folders_of_their_own():
    texts = ['saip:model.a=(1,2)', 'saip:model.a=[1,2]']
    one, two = parse_rows(texts, METHODS, {})
    assert one.folder != two.folder


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'saipp',
            r"no method 'saipp'; did you mean 'saip'. .* --init saipp=FILE",
        ),
        ('other+saip', r"no weights 'other'; --init other=FILE names them \(start\)"),
        ('start+dinosaur', "there is no method 'dinosaur'"),
        ('saip:css', 'METHOD:KEY=VALUE,KEY=VALUE is needed'),
        ('saip:', 'METHOD:KEY=VALUE,KEY=VALUE is needed'),
        ('saip:3', 'METHOD:KEY=VALUE,KEY=VALUE is needed'),
        ('start:lr=1', 'weights as they are take no options'),
    ],
)
def test_a_malformed_row_is_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        parse_rows([text], METHODS, {'start': tmp_path})


def test_a_row_is_compared_once():
    with pytest.raises(ValueError, match='saip: this row is given twice'):
        parse_rows(['saip', 'saip-small', 'saip'], METHODS, {})


def test_weights_are_files_with_names(tmp_path):
    (tmp_path / 'a.pth').touch()
    assert parse_weights([f'a={tmp_path}/a.pth']) == {'a': tmp_path / 'a.pth'}
    for text in ('a', 'a b=x', '=x'):
        with pytest.raises(ValueError, match='NAME=FILE is needed'):
            parse_weights([text])
    with pytest.raises(ValueError, match='each name once'):
        parse_weights([f'a={tmp_path}/a.pth'] * 2)
    with pytest.raises(FileNotFoundError, match=r'there is no file .*b.pth'):
        parse_weights([f'b={tmp_path}/b.pth'])


# Lengths


@pytest.fixture(scope='module')
def crops(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('crops')
    for number in range(100):
        (folder / f'{number:03}.jpg').write_bytes(b'never opened')
    return folder


def test_the_held_back_images_are_those_of_the_configurations(crops):
    train_set = TrainSet.open(crops)
    assert (train_set.files, train_set.crops, train_set.held_back) == (100, 100, 10)


@pytest.mark.parametrize(
    ('images', 'epochs', 'in_pass'),
    [
        (8, 1, 8),
        (50, 1, 48),
        (90, 1, 88),
        (91, 2, 40),
        (144, 2, 72),
        (200, 3, 64),
        (880, 10, 88),
    ],
)
def test_a_number_of_images_is_seen_in_as_few_passes_as_hold_it(crops, images, epochs, in_pass):
    length = plan_length(TrainSet.open(crops), images, 8)
    assert (length.epochs, length.steps) == (epochs, epochs * in_pass // 8)
    assert images - 8 * epochs < length.images == epochs * in_pass <= images
    train = PersonImages(str(crops), holdout=length.holdout)
    assert len(train) // 8 * 8 == in_pass
    # What is held back for the two-view recall is not among them.
    held_back = PersonImages(str(crops), holdout=0.1, part='held_back')
    names = {train.name(i) for i in range(len(train))}
    assert not names & {held_back.name(i) for i in range(len(held_back))}


def test_two_batches_of_a_set_that_holds_one_and_a_half_are_one(crops):
    length = plan_length(TrainSet.open(crops), 100, 60)
    assert (length.epochs, length.steps) == (1, 1)


@pytest.mark.parametrize(
    ('images', 'batch', 'message'),
    [
        (31, 32, '31 images to see are less than one batch of 32'),
        (500, 91, r'90 images to train on \(10 of 100 are held back\); .* 91 is needed'),
    ],
)
def test_less_than_a_batch_is_refused(crops, images, batch, message):
    with pytest.raises(ValueError, match=message):
        plan_length(TrainSet.open(crops), images, batch)


# Records


def test_a_run_goes_on_with_its_own_settings_alone(tmp_path):
    record = open_record(tmp_path, {'images': 8, 'epochs': 3, 'config_sha256': 'a'})
    record.seconds = 4.0
    record.write(tmp_path)
    assert open_record(tmp_path, {'epochs': 3, 'config_sha256': 'a'}).seconds == 4.0
    with pytest.raises(
        ValueError, match=r'a run whose length \(--images, .*\) in images is 8, '
    ):
        open_record(tmp_path, {'images': 16, 'epochs': 6, 'config_sha256': 'b'})
    with pytest.raises(ValueError, match=r'a run with epochs=3, and now it is 4; .* --out'):
        open_record(tmp_path, {'epochs': 4, 'config_sha256': 'a'})
    with pytest.raises(ValueError, match='a run of another configuration'):
        open_record(tmp_path, {'epochs': 3, 'config_sha256': 'b'})
    (tmp_path / 'run.json').write_text('{"training": {')
    with pytest.raises(ValueError, match='no record of a run; remove it'):
        read_record(tmp_path)


# Tables


# Right, annotated and predicted pixels of two classes, of two images.
PIXELS = {'parts mIoU': [[3, 0, 4, 0, 4, 0], [1, 2, 2, 2, 1, 3]]}


def evaluated(rank: float, ap: float, count: int = 40) -> Evaluated:
    """A network that finds ``rank`` percent of one query of each of many people."""
    hits = np.arange(count) < rank / 100 * count
    identities = np.stack([np.ones(count), hits, np.full(count, ap / 100)], axis=1).tolist()
    return Evaluated({'Rank-1': rank, 'mAP': ap}, {'mAP': identities})


@pytest.fixture
def summary() -> list[dict]:
    dense = Evaluated({'parts mIoU': 30.0}, PIXELS)
    rows = [
        RowResults('worst', 'trained', 320, [60.0], [evaluated(5, 10), dense]),
        RowResults(
            'best', 'trained', 320, [30.0, 90.0], [evaluated(60, 40), evaluated(50, 41)]
        ),
        RowResults('near|by', 'given', 0, [], [evaluated(45, 39)]),
        RowResults('place', 'baseline', 0, [], [Evaluated({'parts mIoU': 31.0}, PIXELS)]),
    ]
    return summarize(rows)


def test_rows_are_summarized(summary):
    best = summary[1]['metrics']['Rank-1']
    assert (best['mean'], best['values']) == (55, [60, 50])
    assert best['spread'] == pytest.approx(50**0.5)
    assert summary[1]['minutes'] == 1.0
    # 40 people of one query each: the interval of a share of .55 by the normal approximation,
    # half as wide for the people of whom both runs say the same.
    low, high = best['interval']
    assert low == pytest.approx(55 - 196 * (0.55 * 0.45 / 40) ** 0.5, abs=2.0)
    assert high == pytest.approx(55 + 196 * (0.55 * 0.45 / 40) ** 0.5, abs=2.0)
    assert best['best']
    assert 'tie' not in summary[3]['metrics'].get('Rank-1', {})
    assert summary[0]['metrics']['Rank-1']['tie'] is False
    assert summary[2]['metrics']['Rank-1']['tie'] is True
    # Of average precisions that hardly differ between people, nothing ties.
    assert summary[2]['metrics']['mAP']['tie'] is False
    # A baseline is what all have to beat, and never the best.
    assert summary[0]['metrics']['parts mIoU']['best']
    assert 'best' not in summary[3]['metrics']['parts mIoU']
    # Draws of two images: each once, or one of them twice. Together class 0 has 4 of 7 pixels and
    # class 1 2 of 3; the first alone has 3 of 5 of class 0, the second 1 of 2 and 2 of 3.
    low, high = summary[3]['metrics']['parts mIoU']['interval']
    assert low == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert high == pytest.approx(100 * (4 / 7 + 2 / 3) / 2)


def test_the_page_is_a_table(summary):
    settings = {'which': 'student', 'feature': 'image_token', 'encoder': 'vit'}
    page = write_markdown(summary, settings, {'date': '2026-01-01'})
    table = [line for line in page.splitlines() if line.startswith('| ')]
    cells = [re.split(r'(?<!\\)\|', line)[1:-1] for line in table]
    assert {len(row) for row in cells} == {len(cells[0])}
    named = dict(zip([c.strip() for c in cells[0]], [c.strip() for c in cells[3]], strict=True))
    assert named['row'] == 'best'
    assert re.fullmatch(r'\*\*55.0\*\* ± 7.1 \[\d\d.\d, \d\d.\d\]', named['Rank-1'])
    assert (named['images'], named['minutes'], named['two-view recall']) == ('320', '1.0', '-')
    assert cells[4][0].strip() == r'near\|by'
    assert cells[4][3].strip().startswith('45.0 = [')
    assert 'Mean of 2 seeds' in page
    assert '- encoder: vit' in page
    json.dumps(summary)


def test_the_picture_has_a_panel_for_each_figure_that_there_is(summary):
    scores = ('Rank-1', 'mAP', 'two-view recall', 'parts mIoU')
    three = draw_comparison(summary, scores, 'title')
    two = draw_comparison(summary, scores[:2], 'title')
    assert three.width > two.width
    assert np.asarray(three).std() > 5
    longer = [{**row, 'row': 'a long name of a row, ' * 4} for row in summary]
    assert draw_comparison(longer, scores, 'title').height > three.height


def test_surroundings_are_named(tmp_path):
    found = describe_surroundings('cpu')
    assert set(found) == {'commit', 'versions', 'device', 'date'}
    assert read_commit(tmp_path) == 'unknown: not a repository'
    (tmp_path / '.git').mkdir()
    assert read_commit(tmp_path) == 'unknown: git does not say'
