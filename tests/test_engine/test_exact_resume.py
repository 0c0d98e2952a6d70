"""A run that was stopped anywhere ends with the bits of one that was not."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from saip.engine import launch
from saip.engine.amp import AutocastOptimWrapper
from saip.engine.loops import ResumableEpochLoop
from saip.errors import PreemptedError
from saip.synthetic.market import SIZES, write_market1501
from tests.processes import in_processes
from tests.tiny import ARCH, ROOT
from tests.tools import call_tool

pytestmark = pytest.mark.usefixtures('fresh_mmengine', 'signals_as_before')

VIT = dict(type='saip.ViTEncoder', arch=ARCH, patch_size=16)
RESNET = dict(type='saip.TimmEncoder', model='test_resnet')
SMALL = """
csm = dict(neck=dict(hidden_channels=32, bottleneck_channels=16, out_channels=64))
decoder = dict(neck=dict(dims=32, num_heads=4))
"""


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    out = tmp_path_factory.mktemp('people') / 'tiny'
    write_market1501(out, SIZES['tiny'])
    return out


def write(folder: Path, method: str, backbone: dict, workers: int, accumulated: int) -> str:
    """Epochs of six batches, without a validation."""
    base = ROOT / 'configs/pretrain/_base_'
    runtime = ROOT / 'configs/_base_/default_runtime.py'
    path = folder / 'exact.py'
    koleo = ', koleo=None' if method == 'saip-small' else ''
    options = dict(Config.fromfile(base / f'methods/{method}.py').get('encoder_options', {}))
    if options.get('feature_level', 6) is not None:
        options['feature_level'] = 2
    encoder = backbone if backbone is RESNET else backbone | options
    path.write_text(
        f"""_base_ = [
    '{base}/methods/{method}.py',
    '{base}/data/people.py',
    '{base}/schedules/adamw-coslr-short.py',
    '{runtime}',
]
{SMALL}
model = dict(
    backbone=dict(**{encoder}),
    objectives=dict(csm=csm, csr=decoder, css=decoder{koleo}),
)
train_dataloader = dict(
    batch_size=3, num_workers={workers}, persistent_workers={workers > 0},
    dataset=dict(canvas=(160, 80)),
)
optim_wrapper = dict(dtype='float32', accumulative_counts={accumulated})
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None))
vis_backends = []
visualizer = dict(vis_backends=vis_backends)
"""
    )
    return str(path)


def asked_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """Ask the run to stop within one of its iterations."""
    run_iter = ResumableEpochLoop.run_iter

    def asking(self: ResumableEpochLoop, *args: Any) -> None:
        if self._iter == iteration:
            os.kill(os.getpid(), signal.SIGUSR1)
        run_iter(self, *args)

    monkeypatch.setattr(ResumableEpochLoop, 'run_iter', asking)


def flat(node: Any, name: str = '') -> dict[str, Any]:
    if isinstance(node, dict):
        pairs = node.items()
    elif isinstance(node, list | tuple):
        pairs = enumerate(node)
    else:
        return {name: node}
    return {k: v for key, below in pairs for k, v in flat(below, f'{name}.{key}').items()}


def assert_same_bits(one: Path, other: Path) -> None:
    found, expected = (
        flat({key: file[key] for key in ('state_dict', 'optimizer', 'param_schedulers')})
        for file in (torch.load(path, weights_only=True) for path in (one, other))
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same = (
            torch.equal(found[name], value) if torch.is_tensor(value) else found[name] == value
        )
        assert same, name


# Six batches an epoch: windows of four end at 4, 8, 12, 16 and with the run.
@pytest.mark.parametrize(
    ('method', 'backbone', 'workers', 'accumulated', 'asked', 'saved'),
    [
        ('saip-small', VIT, 0, 1, 6, 7),
        ('saip-small', RESNET, 0, 1, 9, 10),
        pytest.param('saip-official', VIT, 0, 4, 4, 8, marks=pytest.mark.slow),
        pytest.param('saip-small', VIT, 2, 1, 6, 7, marks=pytest.mark.slow),
        pytest.param('saip-paper', VIT, 0, 1, 6, 7, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_asked_to_stop_goes_on_with_the_same_bits(
    people, tmp_path, monkeypatch, method, backbone, workers, accumulated, asked, saved
):
    monkeypatch.setenv('SAIP_PEOPLE', str(people))
    monkeypatch.setenv('SAIP_EPOCHS', '3')
    config = write(tmp_path, method, backbone, workers, accumulated)
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    launch.train(config, work_dir=str(whole), validate=False)
    DefaultScope._instance_dict.clear()
    with monkeypatch.context() as patch:
        asked_at(patch, asked)
        with pytest.raises(PreemptedError, match=rf'SIGUSR1 after {saved} of 18 iterations'):
            launch.train(config, work_dir=str(parts), validate=False)
    assert (parts / 'last_checkpoint').read_text() == f'iter_{saved}.pth'
    DefaultScope._instance_dict.clear()
    launch.train(config, work_dir=str(parts), validate=False, resume='auto')
    assert_same_bits(parts / 'epoch_3.pth', whole / 'epoch_3.pth')


def train_in_process(config: str, work: str, asked: int | None) -> str:
    """Train as one of several processes; the second is asked to stop. How it ended."""
    with pytest.MonkeyPatch.context() as patch:
        if asked is not None and os.environ['RANK'] == '1':
            asked_at(patch, asked)
        try:
            launch.train(
                config, work_dir=work, validate=False, resume='auto', launcher='pytorch'
            )
        except PreemptedError as error:
            return str(error)
    return 'done'


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize('backbone', [VIT, RESNET], ids=['vit', 'batch_norm'])
def test_two_processes_go_on_with_the_same_bits(people, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_PEOPLE', str(people))
    monkeypatch.setenv('SAIP_EPOCHS', '4')
    config = write(tmp_path, 'saip-small', backbone, 0, 1)
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    ends = [
        in_processes(2, tmp_path, train_in_process, config, str(folder), asked)
        for folder, asked in ((whole, None), (parts, 3), (parts, None))
    ]
    assert ends[0] == ends[2] == ['done', 'done']
    assert all(re.search(r'after 5 of 12 iterations', text) for text in ends[1]), ends
    assert_same_bits(parts / 'epoch_4.pth', whole / 'epoch_4.pth')


def test_half_a_gradient_is_never_a_resume_point(people, tmp_path, monkeypatch):
    """The checkpoint of an epoch is written when the optimizer steps, and goes on from there."""
    monkeypatch.setenv('SAIP_PEOPLE', str(people))
    monkeypatch.setenv('SAIP_EPOCHS', '2')
    config = write(tmp_path, 'saip-official', VIT, 0, 4)
    whole, again = tmp_path / 'whole', tmp_path / 'again'
    launch.train(config, work_dir=str(whole), validate=False)
    metas = [
        torch.load(whole / f'epoch_{epoch}.pth', weights_only=True)['meta'] for epoch in (1, 2)
    ]
    assert [(meta['epoch'], meta['iter']) for meta in metas] == [(1, 8), (2, 12)]
    DefaultScope._instance_dict.clear()
    launch.train(config, work_dir=str(again), validate=False, resume=str(whole / 'epoch_1.pth'))
    assert_same_bits(again / 'epoch_2.pth', whole / 'epoch_2.pth')


def test_a_skipped_step_is_replayed_with_its_views(people, tmp_path, monkeypatch, capsys):
    """From the weights before it, its losses are those that the run has seen."""
    monkeypatch.setenv('SAIP_PEOPLE', str(people))
    monkeypatch.setenv('SAIP_EPOCHS', '2')
    config = write(tmp_path, 'saip-small', VIT, 0, 1)
    backward, losses = AutocastOptimWrapper.backward, []

    def broken(self: AutocastOptimWrapper, loss: torch.Tensor, **kwargs: Any) -> None:
        losses.append(float(loss))
        backward(self, loss * (float('nan') if len(losses) == 7 else 1), **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(AutocastOptimWrapper, 'backward', broken)
        launch.train(config, work_dir=str(tmp_path / 'work'), validate=False)
    DefaultScope._instance_dict.clear()
    options = [config, tmp_path / 'work', '--checkpoint', tmp_path / 'work/epoch_1.pth']
    assert call_tool(monkeypatch, 'analysis_tools/replay_step.py', *options) == 0
    out = capsys.readouterr().out
    assert 'not finite then: gradients' in out
    assert 'iteration 7, process 0' in out
    terms = dict(re.findall(r'^  (loss_\w+) +(\S+)$', out, re.M))
    assert set(terms) == {'loss_csm', 'loss_csr', 'loss_css'}
    assert sum(map(float, terms.values())) == pytest.approx(losses[6], rel=1e-5)
    assert len(list((tmp_path / 'work/replay').glob('iteration_7_rank_0_*.png'))) == 3
    line = [config, tmp_path / 'work', '--line', '1']
    assert call_tool(monkeypatch, 'analysis_tools/replay_step.py', *line) == 2
    assert 'has 1 lines' in capsys.readouterr().err
