"""Comparisons from end to end: with trainings of milliseconds, and one in earnest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from saip.checkpoint import file_sha256, load_checkpoint_file
from saip.configs import backbone_folder
from saip.experiments.compare.length import TrainSet
from saip.experiments.compare.rows import parse_rows
from saip.experiments.compare.run import compare
from saip.experiments.compare.settings import METHODS, Comparison
from saip.experiments.compare.training import lengths_of
from saip.experiments.compared_encoders import (
    evaluate_compared_encoders,
    find_compared_encoders,
)
from tests.test_experiments.comparison_files import FakeEvaluation, FakeTraining, small_sets
from tests.tiny import ROOT
from tests.tools import call_tool

# A logger that an earlier test has made writes to that test's output.
pytestmark = pytest.mark.usefixtures('fresh_mmengine')
CONFIGS = backbone_folder().parents[1]
ABLATION = 'saip-small:model.objectives.css=None'


@pytest.fixture(scope='module')
def sets(tmp_path_factory) -> dict[str, Path]:
    return small_sets(tmp_path_factory.mktemp('sets'))


@pytest.fixture
def fake(monkeypatch) -> FakeTraining:
    training = FakeTraining()
    monkeypatch.setattr('saip.experiments.compare.training.run_training', training)
    return training


@pytest.fixture
def quick(monkeypatch) -> FakeEvaluation:
    evaluation = FakeEvaluation()
    monkeypatch.setattr('saip.experiments.compare.run.evaluate_network', evaluation)
    picture = Image.new('RGB', (8, 8))
    monkeypatch.setattr('saip.experiments.compare.run.draw_comparison', lambda *_: picture)
    return evaluation


@pytest.fixture
def small(sets, tmp_path) -> Comparison:
    return comparison(sets, tmp_path / 'out')


def comparison(
    sets, out, texts=('saip-small', ABLATION), weights=None, **changes
) -> Comparison:
    """Two rows of two seeds that see 16 images each."""
    options = dict(
        rows=parse_rows(texts, CONFIGS / METHODS, weights or {}),
        weights=weights or {},
        data=sets['people'] / 'bounding_box_train',
        retrieval=sets['people'],
        out=out,
        images=16,
        minutes=None,
        seeds=2,
        batch=8,
        backbone='vit-4blocks-p16',
        which='student',
        feature='image_token',
        device='cpu',
        workers=0,
        options=(),
        parts=sets['lip'],
        keypoints=sets['coco'],
        configs=CONFIGS,
        tools=ROOT / 'tools',
    )
    return Comparison(**{**options, **changes})


def results(out: Path) -> dict[str, dict]:
    record = json.loads((out / 'comparison.json').read_text())
    return {row['row']: row for row in record['rows']}


def test_all_rows_and_what_they_have_to_beat_are_in_the_table(small, fake, monkeypatch):
    """The figures are those of the frozen evaluation."""
    monkeypatch.setattr('saip.evaluation.probes.STEPS', 10)
    one = replace(small, seeds=1)
    page = compare(one)
    assert fake.calls == [('saip-small', 0, 1), (ABLATION, 0, 1)]
    rows = results(small.out)
    assert list(rows) == [
        *('saip-small', 'saip-small: css=None', 'random weights'),
        *('color histogram', 'coarse pixels', 'place alone'),
    ]
    assert page == (small.out / 'comparison.md').read_text()
    assert all(f'| {name} |' in page for name in rows)
    assert (small.out / 'comparison.png').stat().st_size > 10_000
    figures = {
        name: {figure: metric['values'] for figure, metric in row['metrics'].items()}
        for name, row in rows.items()
    }
    # The fake weights depend on the seed alone, and are those of random twins.
    assert figures['saip-small'] == figures['saip-small: css=None'] == figures['random weights']
    dense = {'parts mIoU', 'keypoints PCK@0.1'}
    whole = {'Rank-1', 'mAP', 'two-view recall', 'effective rank', 'feature spread'}
    assert set(figures['saip-small']) == whole | dense
    assert set(figures['coarse pixels']) == whole
    assert set(figures['place alone']) == dense

    alone = find_compared_encoders(str(small.out / 'runs/saip-small/seed_0/epoch_1.pth'))
    settings = dict(num_workers=0, device='cpu', progress=False)
    retrieval = evaluate_compared_encoders(alone, small.retrieval, **settings)['rows']
    recall = evaluate_compared_encoders(alone, small.data, 0.1, **settings)['rows']
    others = ('random weights', 'color histogram', 'coarse pixels')
    for name, other in {
        'saip-small': 'student',
        **dict(zip(others, others, strict=True)),
    }.items():
        metrics = rows[name]['metrics']
        for figure in ('Rank-1', 'mAP'):
            assert metrics[figure]['mean'] == pytest.approx(retrieval[other][figure])
            low, high = metrics[figure]['interval']
            assert low <= metrics[figure]['mean'] <= high
        assert metrics['two-view recall']['mean'] == pytest.approx(recall[other]['recall@1'])


def test_what_is_finished_is_not_done_again(small, fake, quick):
    page = compare(small)
    assert (len(fake.calls), quick.calls) == (4, 9)
    assert compare(small) == page
    # Fewer rows and seeds are a part of it, and workers change nothing.
    compare(replace(small, rows=small.rows[1:], seeds=1, workers=1))
    assert (len(fake.calls), quick.calls) == (4, 9)
    # Another evaluation trains nothing.
    student = results(small.out)['saip-small: css=None']['metrics']['mAP']['values']
    compare(replace(small, rows=small.rows[1:], seeds=1, which='expert'))
    assert len(fake.calls) == 4
    assert results(small.out)['saip-small: css=None']['metrics']['mAP']['values'] != student


def test_more_rows_and_seeds_are_added(small, fake, quick):
    compare(replace(small, rows=small.rows[:1], seeds=1))
    compare(replace(small, seeds=2))
    assert [call[:2] for call in fake.calls] == [
        *(('saip-small', 0), ('saip-small', 1)),
        *((ABLATION, 0), (ABLATION, 1)),
    ]


def test_rows_that_leave_the_table_are_named(small, fake, quick, capsys):
    compare(small)
    capsys.readouterr()
    compare(replace(small, rows=small.rows[:1]))
    said = ''.join(capsys.readouterr())
    assert 'comparison.md: saip-small: css=None leave the table' in said
    assert [row for row in results(small.out) if 'css' in row] == []
    compare(small)
    assert 'leave the table' not in ''.join(capsys.readouterr())
    assert len(fake.calls) == 4


def test_a_comparison_that_stopped_goes_on(small, fake, quick):
    fake.break_at = 1
    with pytest.raises(RuntimeError, match='saip-small: the training stopped with status 1'):
        compare(small)
    assert not (small.out / 'runs/saip-small/seed_1/epoch_1.pth').exists()
    before = (small.out / 'runs/saip-small/seed_0/run.json').read_text()
    compare(small)
    assert [call[:2] for call in fake.calls] == [
        *(('saip-small', 0), ('saip-small', 1), ('saip-small', 1)),
        *((ABLATION, 0), (ABLATION, 1)),
    ]
    assert (small.out / 'runs/saip-small/seed_0/run.json').read_text() == before


def test_runs_of_other_settings_are_not_mixed(small, fake, quick):
    one = replace(small, rows=small.rows[:1], seeds=1)
    compare(one)
    for change, message in (
        ({'images': 8}, r'a run whose length \(--images.*is 16, and now it is 8'),
        ({'options': ['optim_wrapper.optimizer.lr=1e-4']}, 'a run of another configuration'),
        ({'batch': 4}, 'a run of another configuration'),
    ):
        with pytest.raises(ValueError, match=message):
            compare(replace(one, **change))
    assert len(fake.calls) == 1


def test_rows_begin_with_given_weights(sets, fake, quick, tmp_path):
    first = comparison(sets, tmp_path / 'first', ['saip-small'], seeds=1)
    compare(first)
    weights = {'start': first.out / 'runs/saip-small/seed_0/epoch_1.pth'}
    second = comparison(
        sets, tmp_path / 'second', ['start', 'start+saip-small'], weights, seeds=1
    )
    compare(second)
    rows = results(second.out)
    assert list(rows)[:2] == ['start', 'start+saip-small']
    was, now = (
        {name: metric['values'] for name, metric in row['metrics'].items()}
        for row in (results(first.out)['saip-small'], rows['start'])
    )
    assert was == now
    assert rows['start']['kind'] == 'given'
    folder = second.out / 'runs/start+saip-small/seed_0'
    training = json.loads((folder / 'run.json').read_text())['training']
    assert training['weights_sha256'] == file_sha256(weights['start'])
    length = lengths_of(second, TrainSet.open(second.data), tmp_path)[second.rows[1]]
    cfg = second.read(second.rows[1], 0, length)
    assert cfg.model.init_from.checkpoint == str(weights['start'])
    assert cfg.model.init_from.prefixes == {'backbone': 'backbone'}


def test_a_time_is_divided_by_the_measured_speed(small, fake):
    """Two rows of two seeds in 4 minutes: a minute each, at half a second per step."""
    timed = replace(small, images=None, minutes=4.0)
    lengths = lengths_of(timed, TrainSet.open(timed.data), timed.out / 'speed')
    # The fake takes no time, less than the steps that its log tells of.
    assert [length.steps for length in lengths.values()] == [120, 120]
    assert [length.images for length in lengths.values()] == [960, 960]
    assert len(fake.calls) == 2
    fake.seconds_per_step = 5.0  # measured once
    assert lengths_of(timed, TrainSet.open(timed.data), timed.out / 'speed') == lengths
    assert len(fake.calls) == 2
    assert not list((timed.out / 'speed').rglob('*.pth'))
    short = replace(timed, minutes=0.02, out=timed.out / 'short')
    with pytest.raises(ValueError, match=r'--time 0.02: 0 s for each training, .* per step'):
        lengths_of(short, TrainSet.open(short.data), short.out / 'speed')


def test_all_rows_have_the_same_recipe_but_for_the_method(small):
    length = lengths_of(small, TrainSet.open(small.data), small.out)[small.rows[0]]
    one, two = (small.read(row, 1, length).to_dict() for row in small.rows)
    assert one['model'].pop('objectives') != two['model'].pop('objectives')
    assert one == two
    assert one['randomness'] == {'seed': 1}
    assert one['model']['data_preprocessor']['seed'] == 1
    other = small.read(small.rows[0], 0, length).to_dict()
    assert other['model']['data_preprocessor']['seed'] == 0


@pytest.mark.parametrize('name', ['SAIP_RETRIEVAL', 'SAIP_LABELED'])
def test_what_validates_other_trainings_changes_nothing(name, small, monkeypatch):
    length = lengths_of(small, TrainSet.open(small.data), small.out)[small.rows[0]]
    plain = small.read(small.rows[0], 0, length).to_dict()
    monkeypatch.setenv(name, 'data/elsewhere')
    assert small.read(small.rows[0], 0, length).to_dict() == plain


def test_a_device_is_chosen_for_the_training(small):
    length = lengths_of(small, TrainSet.open(small.data), small.out)[small.rows[0]]
    devices = {
        device: replace(small, device=device)
        .variables(small.rows[0], length)
        .get('CUDA_VISIBLE_DEVICES')
        for device in ('cpu', 'cuda', 'cuda:1')
    }
    assert devices == {'cpu': '', 'cuda': None, 'cuda:1': '1'}


def test_a_method_that_the_encoder_cannot_do_is_refused_before_the_first_step(
    sets, fake, tmp_path
):
    texts = ['saip-small', 'saip-small:model.data_preprocessor.views.masked=None']
    with pytest.raises(ValueError, match='masked'):
        compare(comparison(sets, tmp_path, texts))
    without = 'model.expert=None,model.objectives.csm=None,model.objectives.css=None'
    texts = [f'saip-small:{without}', 'saip-small']
    with pytest.raises(ValueError, match=r'trains no expert .*; --which student'):
        compare(comparison(sets, tmp_path, texts, which='expert'))
    with pytest.raises(ValueError, match=r'SAIP_BACKBONE=vit: there is no .*vit-4blocks-p16'):
        compare(comparison(sets, tmp_path, backbone='vit'))
    with pytest.raises(ValueError, match="did you mean 'objectives'"):
        compare(comparison(sets, tmp_path, ['saip-small:model.objektives.css=None']))
    assert not fake.calls


# The command line

FINE = ['saip-small', '--images', '16', '--batch-size', '8', '--workers', '0']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['saip-smal', *FINE[1:]],
            "'saip-smal'; did you mean 'saip-small'? choose",
        ),
        ([*FINE, '--data', 'absent'], 'absent: no such folder'),
        ([*FINE, '--retrieval', 'absent'], 'absent: no such folder'),
        ([*FINE, '--data', '{people}'], 'holds query and gallery of a retrieval'),
        (
            [*FINE, '--images', '7', '--batch-size', '8'],
            '7 images to see are less than one batch',
        ),
        ([*FINE, '--images', '0'], '--images 0: at least 1'),
        ([*FINE, '--seeds', '0'], '--seeds 0: at least 1'),
        ([*FINE, '--batch-size', '1'], '--batch-size 1: at least 2'),
        ([*FINE, '--time', '3'], 'not allowed with argument --images'),
        (['saip-small', '--time', '0'], '--time 0.0: more than 0 minutes'),
        (['saip-small'], 'one of the arguments --images --time is required'),
        ([*FINE, '--device', 'cuda:99'], '--device cuda:99'),
        ([*FINE, '--init', 'a=absent.pth'], 'there is no file absent.pth'),
        (
            [*FINE, '--init', f'a={__file__}'],
            '--init a: no row begins with it; add a or a+METHOD',
        ),
        ([*FINE, '--out', __file__], 'is a file; a folder is needed'),
        ([*FINE, '--parts', 'absent'], 'train_id.txt: no such file. LIP is'),
        ([*FINE, '--keypoints', 'absent'], 'keypoints_train2017.json: no such file. COCO'),
        ([*FINE, '--retrieval', '{lip}'], 'a set in Market-1501 layout has'),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments, message, sets, tmp_path, monkeypatch, capsys, fake
):
    monkeypatch.chdir(tmp_path)
    given = [text.format(**sets) for text in arguments]
    usual = {
        '--data': sets['people'] / 'bounding_box_train',
        '--retrieval': sets['people'],
        '--parts': sets['lip'],
        '--keypoints': sets['coco'],
        '--device': 'cpu',
        '--out': tmp_path / 'out',
    }
    for flag, value in usual.items():
        if flag not in given:
            given += [flag, str(value)]
    assert call_tool(monkeypatch, 'compare.py', *given) == 2
    said = capsys.readouterr().err
    assert message in said
    assert 'Traceback' not in said
    assert not fake.calls


@pytest.mark.slow
def test_a_comparison_that_is_killed_goes_on_where_it_was(sets, tmp_path):
    """In earnest: two rows of two epochs, killed within the second row, and called again."""
    out = tmp_path / 'out'
    command = [
        *(sys.executable, ROOT / 'tools/compare.py', 'saip-small', ABLATION),
        *('--data', sets['people'] / 'bounding_box_train', '--retrieval', sets['people']),
        *('--images', '32', '--batch-size', '8', '--workers', '0', '--device', 'cpu'),
        *('--parts', sets['lip'], '--keypoints', sets['coco'], '--out', out),
        *('--cfg-options', 'model.backbone.arch.num_layers=3'),
    ]
    command = list(map(str, command))
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    first = subprocess.Popen(command, env=env, start_new_session=True, stdout=-3, stderr=-3)
    second = next(iter((out / 'runs').glob('*css*')), None)
    deadline = time.monotonic() + 240
    while not (second and (second / 'seed_0/epoch_1.pth').is_file()):
        assert time.monotonic() < deadline
        assert first.poll() is None, 'it ended before it could be killed'
        time.sleep(0.05)
        second = next(iter((out / 'runs').glob('*css*')), None)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finished = (out / 'runs/saip-small/seed_0/run.json').read_text()
    assert json.loads(finished)['evaluation'] is not None
    begun = load_checkpoint_file(second / 'seed_0/epoch_1.pth')
    done = subprocess.run(command, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (out / 'runs/saip-small/seed_0/run.json').read_text() == finished
    rows = results(out)
    assert list(rows)[:2] == ['saip-small', 'saip-small: css=None']
    assert rows['saip-small']['images'] == 32
    log = (second / 'seed_0/output.txt').read_text()
    assert 'resumed' in log.lower()
    ended = load_checkpoint_file(second / 'seed_0/epoch_2.pth')
    assert ended['meta']['iter'] == 2 * begun['meta']['iter'] == 4
    moved = [
        not torch.equal(value, begun['state_dict'][key])
        for key, value in ended['state_dict'].items()
        if key.startswith('backbone.layers')
    ]
    assert len(moved) > 20
    assert all(moved)


def test_each_method_is_read_as_it_says(sets, tmp_path):
    """MAE trains no image token, so the mean of its patches stands for it."""
    rows = ['dino-small', 'mae-small']
    found = comparison(sets, tmp_path, rows, feature=None)
    features = [found.feature_of(row) for row in found.rows]
    assert features == ['image_token', 'patch_mean']
    assert found.features() == features
    asked = comparison(sets, tmp_path, rows, feature='image_token')
    assert {asked.feature_of(row) for row in asked.rows} == {'image_token'}
    assert asked.features() == ['image_token']


def test_each_method_has_to_beat_the_untrained_network_read_alike(sets, fake, quick, tmp_path):
    rows = ['dino-small', 'saip-small', 'mae-small']
    compare(comparison(sets, tmp_path, rows, feature=None, seeds=1))
    found = list(results(tmp_path))
    assert found[3:] == [
        *('random weights', 'random weights (patch_mean)'),
        *('color histogram', 'coarse pixels', 'place alone'),
    ]
    records = {
        path.parent.parent.name: json.loads(path.read_text())['evaluation']['feature']
        for path in (tmp_path / 'runs/baselines').glob('*/seed_0/run.json')
    }
    assert records['random_weights'] == records['color_histogram'] == 'image_token'
    assert records['random_weights_patch_mean'] == 'patch_mean'


def test_all_methods_of_one_size_can_be_compared(sets, tmp_path, monkeypatch):
    rows = ['saip-small', *(f'{name}-small' for name in ('dino', 'mae', 'mae-dino', 'hap'))]
    rows.append('solider-small')
    monkeypatch.setenv('SAIP_KEYPOINTS', 'keypoints.npz')
    found = comparison(sets, tmp_path, rows, feature=None)
    found.check_rows()
    described = found.describe(TrainSet.open(found.data))
    assert described['λ of the controller'] == 'solider-small: 0.2'
    assert described['keypoints of the training images'].startswith('hap-small: ')
    assert described['keypoints of the training images'].endswith('keypoints.npz')
    length = lengths_of(found, TrainSet.open(found.data), tmp_path)[found.rows[0]]
    datasets = [found.read(row, 0, length).train_dataloader.dataset for row in found.rows]
    assert [d.get('keypoints') for d in datasets] == [
        *(None for _ in range(4)),
        *('keypoints.npz', None),
    ]
    monkeypatch.setenv('SAIP_KEYPOINTS', 'none')
    described = replace(found).describe(TrainSet.open(found.data))
    assert described['keypoints of the training images'] == 'hap-small: a template'


def test_parts_without_keypoints_are_refused_before_the_first_step(sets, fake, tmp_path):
    with pytest.raises(ValueError, match=r'the data set has no keypoints: SAIP_KEYPOINTS'):
        compare(comparison(sets, tmp_path, ['saip-small', 'hap']))
    assert not fake.calls


def test_weights_bring_their_statistics_and_fit_any_method(sets, fake, quick, tmp_path):
    first = comparison(sets, tmp_path / 'first', ['saip-small'], seeds=1)
    compare(first)
    source = first.out / 'runs/saip-small/seed_0/epoch_1.pth'
    checkpoint = torch.load(source, weights_only=True)
    checkpoint['meta']['statistics'] = {'mean': [127.5] * 3, 'std': [128.0] * 3}
    torch.save(checkpoint, tmp_path / 'other.pth')
    weights = {'other': tmp_path / 'other.pth'}
    rows = ['other+solider-small', 'saip-small']
    found = comparison(sets, tmp_path / 'second', rows, weights, seeds=1)
    found.check_rows()  # the controller begins at random
    length = lengths_of(found, TrainSet.open(found.data), tmp_path)[found.rows[0]]
    preprocessors = [found.read(row, 0, length).model.data_preprocessor for row in found.rows]
    assert [p.mean for p in preprocessors] == [[127.5] * 3, [123.675, 116.28, 103.53]]
    assert [p.std[0] for p in preprocessors] == [128.0, 58.395]

    checkpoint['state_dict'].pop('backbone.cls_token')
    torch.save(checkpoint, tmp_path / 'broken.pth')
    broken = comparison(
        *(sets, tmp_path / 'third', ['saip-small', 'broken+saip-small']),
        {'broken': tmp_path / 'broken.pth'},
    )
    with pytest.raises(ValueError, match=r'broken\.pth.*cls_token'):
        compare(broken)
    assert len(fake.calls) == 1
