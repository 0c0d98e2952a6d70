"""The quickstart's decisions, and (slowly) the whole of it on a handful of images."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from mmengine.config import Config
from rich.console import Console

from saip.engine.launch import StartError
from saip.quickstart import idle_cores, run
from saip.quickstart.idle_cores import count_idle_cores, fit_threads
from saip.quickstart.run import _prepare_images, choose_plan
from saip.quickstart.screen import Screen
from saip.quickstart.verdict import judge
from saip.registry import MODELS
from saip.synthetic.market import SIZES, write_market1501
from tests.test_datasets.image_files import fill
from tests.tiny import ROOT


@pytest.mark.parametrize('folder', [False, True])
@pytest.mark.parametrize('gpu', [False, True])
def test_plans_fit_their_configs(folder, gpu):
    plan = choose_plan(ROOT / 'configs', folder, gpu)
    cfg = Config.fromfile(plan.config)
    assert cfg.train_dataloader.batch_size == plan.batch
    assert cfg.preset == ('saip' if gpu else 'saip-small')
    assert ('folder' in plan.config.stem) is folder
    assert plan.factor == (3 if gpu else 1.5)
    encoder = MODELS.build(cfg.model.backbone)
    assert (encoder.embed_dims, encoder.patch_dims) == ((192, 192) if gpu else (1024, 256))


def test_another_encoder_is_expected_to_beat_itself_untrained(monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet-s3')
    plan = choose_plan(ROOT / 'configs', False, False)
    assert plan.name == 'saip-small_starnet-s3_1xb32-amp-coslr_people'
    assert Config.fromfile(plan.config).model.backbone.model == 'starnet_s3'
    # A few epochs on a CPU, where such an encoder takes longer; as many as others on a GPU.
    assert plan.images < choose_plan(ROOT / 'configs', False, True).images == 480_000
    assert judge(retrieval(2.5, 2.6), plan.factor).learned
    assert not judge(retrieval(2.5, 2.5), plan.factor).learned


def test_an_unknown_encoder_is_refused_before_anything_is_drawn(monkeypatch, tmp_path):
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet')
    with pytest.raises(StartError, match='SAIP_BACKBONE=starnet'):
        run.quickstart(ROOT / 'configs', None, tmp_path / 'out', tmp_path / 'people')
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match='crops: no such folder'):
        run.quickstart(ROOT / 'configs', tmp_path / 'crops', tmp_path / 'out', tmp_path)
    assert not list(tmp_path.iterdir())


def retrieval(before: float, after: float) -> dict:
    rows = {
        'random weights': before,
        'student': after,
        'color histogram': 9.0,
        'coarse pixels': 7.0,
    }
    return {'protocol': 'retrieval', 'rows': {name: {'mAP': x} for name, x in rows.items()}}


def test_three_times_the_untrained_map_is_learning():
    verdict = judge(retrieval(2.5, 7.5), 3)
    assert verdict.learned
    assert verdict.text == (
        'It learned: mAP 7.5 % trained, 2.5 % untrained (3.0 times, at least 3 expected), '
        '9.0 % color histogram, 7.0 % coarse pixels.'
    )
    verdict = judge(retrieval(2.5, 7.4), 3)
    assert not verdict.learned
    assert 'NOT' in verdict.text
    assert '(1.6 times, at least 1.5 expected)' in judge(retrieval(20.0, 32.0), 1.5).text


def test_more_recall_than_untrained_is_learning():
    rows = {'random weights': {'recall@1': 40.0}, 'student': {'recall@1': 60.0}}
    result = {'protocol': 'two-view', 'rows': rows, 'chance': 0.8}
    verdict = judge(result, 3)
    assert verdict.learned
    assert '60.0 % of the cases trained, 40.0 % untrained, 0.8 % by chance' in verdict.text
    rows['student']['recall@1'] = 40.0
    assert not judge(result, 3).learned


@pytest.mark.parametrize('name', ['SAIP_RETRIEVAL', 'SAIP_LABELED'])
def test_a_folder_is_validated_by_itself(name, tmp_path, monkeypatch):
    fill(tmp_path, 10)
    monkeypatch.setenv('SAIP_FOLDER', 'elsewhere')  # restored afterwards
    monkeypatch.setenv(name, 'elsewhere')
    assert len(_prepare_images(tmp_path, tmp_path / 'people')) > 0
    assert name not in os.environ
    assert os.environ['SAIP_FOLDER'] == str(tmp_path)


def test_too_few_images_and_other_runs_are_refused(tmp_path):
    plan = choose_plan(ROOT / 'configs', False, False)
    assert run._count_epochs(plan, 4800, tmp_path) * 4800 >= plan.images
    with pytest.raises(StartError, match='31 images to train on; at least 32'):
        run._count_epochs(plan, 31, tmp_path)
    run._refuse_other_run(tmp_path / 'out', plan, 3)
    run._refuse_other_run(tmp_path / 'out', plan, 3)
    with pytest.raises(StartError, match='holds another run'):
        run._refuse_other_run(tmp_path / 'out', plan, 4)


@pytest.mark.slow
def test_a_folder_becomes_a_report_and_a_backbone(tmp_path):
    write_market1501(tmp_path / 'people', SIZES['tiny'])
    images = tmp_path / 'people/bounding_box_train'
    for index, path in enumerate(sorted(images.glob('*.jpg'))):
        for copy in range(3):
            (images / f'copy{copy}_{index}.jpg').write_bytes(path.read_bytes())
    script = f"""
from pathlib import Path
from saip.quickstart import run
run.FOLDER_IMAGES = 128
run.quickstart(Path('{ROOT}/configs'), Path('{images}'), Path('{tmp_path}/out'), Path('x'))
"""
    env = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    out = Path(tmp_path / 'out')
    page = (out / 'report/report.html').read_text()
    assert page.count('<img') == page.count('<strong>Good:</strong>') >= 5
    assert 'class="verdict' in page
    assert 'src="http' not in page
    assert len(list(out.glob('*.safetensors'))) == 1
    lines = done.stdout.splitlines()
    assert [line[:5] for line in lines if line.startswith('[')] == [
        f'[{n}/5]' for n in range(1, 6)
    ]
    assert len(lines) < 20, 'the rest belongs into the log'
    assert 'report.html' in done.stdout
    assert not done.stderr
    log = (out / 'quickstart.log').read_text()
    assert 'two-view recall' in log
    assert 'Epoch(train)' in log


STAT = """cpu  300 0 0 900 0 0 0 0 0 0
cpu0 {} 0 10 {} {} 0 0 0 0 0
cpu1 {} 5 0 {} 0 1 1 0 7 0
cpu9 0 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


@pytest.mark.parametrize(
    ('first', 'second', 'idle'),
    [((0, 90, 10), (0, 100), 2.0), ((100, 0, 0), (0, 100), 1.0), ((100, 0, 0), (75, 25), 0.25)],
)
def test_idle_cores_by_the_kernels_times(monkeypatch, tmp_path, first, second, idle):
    stat = tmp_path / 'stat'
    stat.write_text(STAT.format(50, 500, 7, 60, 600))
    (busy, free, disk), (other, rest) = first, second

    def sleep(seconds: float) -> None:
        stat.write_text(STAT.format(50 + busy, 500 + free, 7 + disk, 60 + other, 600 + rest))

    monkeypatch.setattr(idle_cores.time, 'sleep', sleep)
    monkeypatch.setattr(idle_cores.os, 'sched_getaffinity', lambda pid: {0, 1})
    assert count_idle_cores(stat=stat) == pytest.approx(idle)
    assert count_idle_cores(stat=tmp_path / 'none') is None
    # A kernel that stands still, and one that names other cores than a process may run on.
    monkeypatch.setattr(idle_cores.time, 'sleep', lambda seconds: None)
    assert count_idle_cores(stat=stat) is None
    monkeypatch.setattr(idle_cores.time, 'sleep', sleep)
    monkeypatch.setattr(idle_cores.os, 'sched_getaffinity', lambda pid: {0, 12})
    assert count_idle_cores(stat=stat) is None


@pytest.mark.parametrize(('idle', 'threads'), [(1.2, 1), (3.9, 4), (None, 4)])
def test_fewer_threads_are_taken_and_said(monkeypatch, idle, threads):
    taken: list[int] = []
    text = StringIO()
    monkeypatch.setattr(run, 'count_idle_cores', lambda: idle)
    monkeypatch.setattr(run.torch, 'get_num_threads', lambda: 4)
    monkeypatch.setattr(run.torch, 'set_num_threads', taken.append)
    run._leave_busy_cores(Screen(Console(file=text), 5))
    assert taken == [threads]
    assert ('1 of 4 threads' in text.getvalue()) is (threads == 1)


def test_a_busy_core_costs_a_thread():
    found = [fit_threads(4, idle) for idle in (None, 4.0, 3.6, 3.4, 1.0, 0.0)]
    assert found == [4, 4, 4, 3, 1, 1]
