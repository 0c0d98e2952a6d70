"""Whole trainings through tools/train.py on a handful of synthetic persons."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saip.checkpoint import load_checkpoint_file, load_encoder
from saip.synthetic.market import SIZES, write_market1501
from tests.tiny import ROOT

LEAF = ROOT / 'configs/pretrain/quickstart/saip-small_any-backbone_1xb32-amp-coslr_people.py'
TERMS = ('loss', 'loss_csm', 'loss_csr', 'loss_css', 'csm_teacher_entropy')


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    out = tmp_path_factory.mktemp('people') / 'tiny'
    write_market1501(out, SIZES['tiny'])
    return out


ARCH = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96)
VIT = dict(_delete_=True, type='saip.ViTEncoder', arch=ARCH, patch_size=16, feature_level=2)
STRIDE_16 = dict(_delete_=True, type='saip.TimmEncoder', model='starnet_s050', output_stride=16)
RESNET = dict(_delete_=True, type='saip.TimmEncoder', model='test_resnet')


def write_config(folder: Path, backbone: dict) -> Path:
    """A leaf of tiny width; the KoLeo term sees a batch and not its images, so it is out."""
    path = folder / 'tiny.py'
    path.write_text(
        f"""_base_ = ['{LEAF}']
csm = dict(neck=dict(hidden_channels=32, bottleneck_channels=16, out_channels=64))
decoder = dict(neck=dict(dims=32, num_heads=4))
objectives = dict(csm=csm, csr=decoder, css=decoder, koleo=None)
model = dict(backbone={backbone}, objectives=objectives)
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False)
optim_wrapper = dict(dtype='float32')
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=-1))
train_cfg = dict(val_interval=2)
cosine = dict(type='CosineAnnealingLR', T_max=4, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [cosine]
"""
    )
    return path


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path, VIT)


def train(config: Path, work_dir: Path, people: Path, *arguments: str, processes: int = 1):
    """Run tools/train.py for four epochs; return the logged scalars of its training steps."""
    command = [sys.executable, '-W', 'ignore']
    if processes > 1:
        command += ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}']
        command += ['--master_port', str(20_000 + os.getpid() % 20_000)]
        arguments = (*arguments, '--launcher', 'pytorch')
    command += [str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(work_dir)]
    env = os.environ | {
        'SAIP_PEOPLE': str(people),
        'SAIP_EPOCHS': '4',
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(ROOT),
    }
    done = subprocess.run(
        [*command, *arguments], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return scalars(work_dir)


def scalars(work_dir: Path) -> dict[int, dict]:
    """Logged training scalars by iteration, of the last run in a folder."""
    file = sorted(work_dir.glob('*/vis_data/scalars.json'))[-1]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row['iter']: row for row in rows if 'loss' in row}


@pytest.mark.parametrize(
    'backbone',
    [
        pytest.param(VIT, id='vit'),
        pytest.param(RESNET, id='batch_norm', marks=pytest.mark.slow),
        pytest.param(STRIDE_16, id='stride_16', marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_continues_the_same_losses(backbone, people, tmp_path):
    config = write_config(tmp_path, backbone)
    whole = train(config, tmp_path / 'whole', people)
    assert len(whole) == 8
    assert all(term in whole[1] for term in (*TERMS, 'lr', 'momentum', 'grad_norm'))
    again = tmp_path / 'again'
    again.mkdir()
    shutil.copy(tmp_path / 'whole/epoch_2.pth', again)
    resumed = train(config, again, people, '--resume', 'auto')
    assert sorted(resumed) == [5, 6, 7, 8]
    for iteration, row in resumed.items():
        for term in (*TERMS, 'lr', 'momentum', 'grad_norm'):
            assert row[term] == pytest.approx(whole[iteration][term], rel=1e-6), term
    # The losses of a training do not read BatchNorm's running statistics of the student.
    expected, found = (
        load_checkpoint_file(folder / 'epoch_4.pth')['state_dict']
        for folder in (tmp_path / 'whole', again)
    )
    assert any('running_var' in key for key in expected) is (backbone is not VIT)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.dist
def test_two_processes_give_the_losses_of_one_with_the_same_global_batch(
    config, people, tmp_path
):
    one = train(
        config, tmp_path / 'one', people, '--cfg-options', 'train_dataloader.batch_size=8'
    )
    two = train(
        config,
        tmp_path / 'two',
        people,
        '--cfg-options',
        'train_dataloader.batch_size=4',
        processes=2,
    )
    assert sorted(one) == sorted(two) == list(range(1, 9))
    for iteration in one:
        for term in TERMS:
            expected = one[iteration][term]
            assert two[iteration][term] == pytest.approx(expected, rel=1e-4), (iteration, term)


def test_pretraining_needs_no_compiled_operator_and_no_downstream_library(
    config, people, tmp_path
):
    script = tmp_path / 'blocked.py'
    script.write_text(
        f"""
import sys
for name in ('mmdet', 'mmpose', 'mmseg', 'mmcv.ops', 'mmcv._ext'):
    sys.modules[name] = None
sys.argv = ['train.py', '{config}', '--work-dir', '{tmp_path / 'work'}']
import runpy
try:
    runpy.run_path('{ROOT / 'tools/train.py'}', run_name='__main__')
except SystemExit as stop:
    assert not stop.code, stop.code
import saip
"""
    )
    env = os.environ | {'SAIP_PEOPLE': str(people), 'SAIP_EPOCHS': '1', 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(script)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sorted(scalars(tmp_path / 'work')) == [1, 2]


@pytest.mark.slow
@pytest.mark.dist
def test_a_subset_of_the_objectives_trains_on_two_processes(config, people, tmp_path):
    options = ('model.objectives.csm=None', 'train_dataloader.batch_size=4')
    rows = train(config, tmp_path / 'subset', people, '--cfg-options', *options, processes=2)
    assert len(rows) == 8
    assert all('loss_csr' in row and 'loss_csm' not in row for row in rows.values())


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ('leaf', 'accumulated', 'moves'),
    [
        ('saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m', 1, 4),
        ('saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m', 3, 2),
        ('saip-paper_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m', 1, 4),
        ('saip-official_vit-tiny-p16_8xb64-accum4-amp-coslr-300e_lup1m', 4, 4),
    ],
)
def test_presets_run_as_their_leaves_say(leaf, accumulated, moves, people, tmp_path):
    """Real views, bfloat16, clipping, accumulation, validation, export; only widths are small."""
    shutil.copytree(people / 'bounding_box_train', tmp_path / 'data/LUP1M/train/0')
    path = tmp_path / f'{leaf}.py'
    path.write_text(
        f"""_base_ = ['{ROOT / 'configs/pretrain/saip' / leaf}.py']
sizes = dict(embed_dims=48, num_layers=8, num_heads=3, feedforward_channels=96)
arch = dict(_delete_=True, **sizes)
csm = dict(neck=dict(hidden_channels=32, bottleneck_channels=16, out_channels=64))
decoder = dict(neck=dict(dims=32, num_heads=4))
objectives = dict(csm=csm, csr=decoder, css=decoder)
model = dict(backbone=dict(arch=arch), objectives=objectives)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
optim_wrapper = dict(accumulative_counts={accumulated})
default_hooks = dict(logger=dict(interval=1))
train_cfg = dict(max_epochs=1)
cosine = dict(type='CosineAnnealingLR', T_max=1, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [cosine]
"""
    )
    env = {'SAIP_DATA': str(tmp_path / 'data'), 'SAIP_RETRIEVAL': str(people)}
    done = command_line(path, tmp_path / 'work', **env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = scalars(tmp_path / 'work')
    assert len(rows) == 4
    clipped = 'official' not in leaf
    assert any('grad_norm' in row for row in rows.values()) is clipped
    checkpoint = load_checkpoint_file(tmp_path / 'work/epoch_1.pth')
    assert checkpoint['state_dict']['expert.steps'].item() == moves
    assert list((tmp_path / 'work').glob('best_retrieval_student_mAP_*.pth'))
    encoder, meta = load_encoder(next((tmp_path / 'work/backbones').glob('*.pth')))
    assert meta['preset'] == leaf.split('_')[0]
    trained = checkpoint['state_dict']['backbone.layers.7.attn.qkv.weight']
    assert torch.equal(encoder.state_dict()['layers.7.attn.qkv.weight'], trained)
    assert list((tmp_path / 'work').glob('*/vis_data/events.*')), 'no TensorBoard log'


def command_line(config: Path, work_dir: Path, *arguments: str, **env: str):
    """Run tools/train.py and return the finished process."""
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools/train.py'), str(config)]
    return subprocess.run(
        [*command, '--work-dir', str(work_dir), *arguments],
        env=os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)} | env,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ('folder', 'options', 'message'),
    [
        ('absent', [], 'no such folder'),
        ('empty', [], 'no image'),
        ('few', [], 'fewer than one batch of 256'),
        ('few', ['model.data_preprocessor.size=(250,128)'], 'not a multiple of patch size 16'),
        ('few', ['model.data_preprocessor.size=256'], 'size'),
        (
            'few',
            ['model.data_preprocessor.views.scene=None'],
            "objective 'css' reads the view(s) scene",
        ),
        ('few', ['model.objectivs.css=None'], "did you mean 'objectives'"),
        ('few', ['model.backbone.arch=deit-tny'], 'deit-tny'),
    ],
)
def test_bad_input_is_one_clear_line(folder, options, message, people, tmp_path):
    (tmp_path / 'empty').mkdir()
    shutil.copytree(people / 'query', tmp_path / 'few')
    leaf = ROOT / 'configs/pretrain/saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py'
    arguments = ['--cfg-options', *options] if options else []
    env = {'SAIP_FOLDER': str(tmp_path / folder), 'SAIP_EPOCHS': '20'}
    done = command_line(leaf, tmp_path / 'work', *arguments, **env)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith('train.py: error: ')]
    assert len(lines) == 1, done.stderr[-2000:]
    assert message in lines[0]
    assert 'Traceback' not in done.stderr
