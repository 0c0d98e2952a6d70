"""The quickstart's decisions, and (slowly) the whole of it on a handful of images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from saip.engine.launch import StartError
from saip.quickstart import run
from saip.quickstart.run import _prepare_images, choose_plan
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
    assert plan.factor == (3 if gpu else 2)
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
