"""Files of weights from elsewhere run no code, whoever reads them in a process of this project."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn
from torch.utils.data import DataLoader

from saip.checkpoint import CheckpointError, load_checkpoint_file
from saip.checkpoint.mmengine_loaders import refuse_code
from saip.engine import launch
from tests.processes import free_port
from tests.test_experiments.exported_files import REID
from tests.tiny import ROOT

REFUSED = r'evil\.pth: refused, because reading it would run .*SAIP_UNSAFE_PICKLE=1'
HEADS = {
    'mmpretrain': dict(type='LinearClsHead', num_classes=2, in_channels=4),
    'mmpose': dict(
        type='HeatmapHead',
        in_channels=4,
        out_channels=2,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss'),
    ),
    'mmdet': dict(type='FPN', in_channels=[4, 4], out_channels=4, num_outs=2),
    'mmseg': dict(type='FCNHead', in_channels=4, channels=4, num_classes=2),
}
SLICES = {
    'mmpretrain': 'attributes',
    'mmpose': 'pose',
    'mmdet': 'detection',
    'mmseg': 'part_segmentation',
}


class Evil:
    """Leaves a file behind when it is unpickled by Python's own reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


class Layer(BaseModule):
    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.layer = nn.Linear(2, 2)


class Model(BaseModel):
    def __init__(self, head: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.head = Layer(head)

    def forward(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / 'executed'


@pytest.fixture
def evil(tmp_path: Path, marker: Path) -> str:
    """A checkpoint that holds code beside its weights."""
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': Model().state_dict(), 'meta': {}, 'more': Evil(marker)}, path)
    return str(path)


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_a_pickle_of_python_is_refused(tmp_path: Path, marker: Path, protocol: int) -> None:
    path = tmp_path / 'plain.pkl'
    path.write_bytes(pickle.dumps({'state_dict': Evil(marker)}, protocol))
    with pytest.raises(CheckpointError, match=r'plain\.pkl: refused'):
        load_checkpoint_file(path)
    assert not marker.exists()


def pretrained(path: str, **more: Any) -> dict[str, Any]:
    return dict(type='Pretrained', checkpoint=path, **more)


def test_pythons_own_reader_would_run_it(evil: str, marker: Path) -> None:
    torch.load(evil, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize('prefix', [{}, {'prefix': 'head.'}])
def test_init_cfg_of_a_head(evil: str, marker: Path, prefix: dict) -> None:
    with pytest.raises(CheckpointError, match=REFUSED):
        Model(head=pretrained(evil, **prefix)).init_weights()
    assert not marker.exists()


def test_init_cfg_of_a_whole_model(evil: str, marker: Path) -> None:
    with pytest.raises(CheckpointError, match=REFUSED):
        Model(init_cfg=pretrained(evil)).init_weights()
    assert not marker.exists()


def make_runner(folder: Path, **options: Any) -> Runner:
    loop = dict(train_cfg=dict(by_epoch=True, max_epochs=1))
    loop |= dict(
        train_dataloader=DataLoader([0]), optim_wrapper=dict(optimizer=dict(type='SGD'))
    )
    loop['optim_wrapper']['optimizer']['lr'] = 0.1
    name = dict(experiment_name=folder.name, default_hooks=dict(checkpoint=None))
    return Runner(Model(), str(folder), **loop, **name, **options)


@pytest.mark.parametrize('resume', [False, True])
def test_load_from_and_resume_of_a_runner(
    evil: str, marker: Path, tmp_path: Path, resume: bool
) -> None:
    with pytest.raises(CheckpointError, match=REFUSED):
        make_runner(tmp_path, load_from=evil, resume=resume).load_or_resume()
    assert not marker.exists()


def test_checkpoint_of_a_test(evil: str, marker: Path, tmp_path: Path) -> None:
    pytest.importorskip('mmpretrain.models')
    with pytest.raises(CheckpointError, match=REFUSED):
        launch.evaluate(REID, evil, work_dir=str(tmp_path))
    assert not marker.exists()


@pytest.mark.parametrize('library', HEADS)
def test_modules_of_the_libraries(library: str, evil: str, marker: Path) -> None:
    pytest.importorskip(f'{library}.models')
    with DefaultScope.overwrite_default_scope(library):
        head = ROOT_MODELS.build({**HEADS[library], 'init_cfg': pretrained(evil)})
        with pytest.raises(CheckpointError, match=REFUSED):
            head.init_weights()
    assert not marker.exists()


ALONE = """
import sys
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
Config.fromfile(sys.argv[1])  # this is all that a tool of a library does with our slice
with DefaultScope.overwrite_default_scope(sys.argv[2]):
    MODELS.build(Config.fromfile(sys.argv[1]).model).init_weights()
"""


@pytest.mark.parametrize(
    'library',
    [
        'mmpose',
        *(pytest.param(name, marks=pytest.mark.slow) for name in HEADS if name != 'mmpose'),
    ],
)
def test_custom_imports_are_enough(
    library: str, evil: str, marker: Path, tmp_path: Path
) -> None:
    """In a process that knows of this project by its configuration alone."""
    pytest.importorskip(f'{library}.models')
    imported = dict(imports=[f'saip.downstream.{SLICES[library]}'])
    model = {**HEADS[library], 'init_cfg': pretrained(evil)}
    Config(dict(custom_imports=imported, model=model)).dump(tmp_path / 'config.py')
    done = subprocess.run(
        [sys.executable, '-c', ALONE, tmp_path / 'config.py', library],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('saip.checkpoint.io.CheckpointError: '), done.stderr
    assert 'evil.pth: refused' in last
    assert not marker.exists()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_what_is_downloaded(
    evil: str, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    torch.save({'state_dict': {'a': torch.ones(2)}}, tmp_path / 'good.pth')
    port = free_port()
    server = HTTPServer(('127.0.0.1', port), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = CheckpointLoader.load_checkpoint(f'http://127.0.0.1:{port}/good.pth', 'cpu')
        with pytest.raises(CheckpointError, match=REFUSED):
            CheckpointLoader.load_checkpoint(f'http://127.0.0.1:{port}/evil.pth', 'cpu')
    finally:
        server.shutdown()
        server.server_close()
    assert found['state_dict']['a'].tolist() == [1, 1]
    assert not marker.exists()


def test_every_place_has_a_loader_that_runs_nothing() -> None:
    before = dict(CheckpointLoader._schemes)
    refuse_code()
    assert before == CheckpointLoader._schemes
    assert {'', 'http://', 'https://', 'openmmlab://', 'torchvision://'} <= set(before)
    modules = {loader.__code__.co_filename for loader in before.values()}
    assert [Path(module).name for module in modules] == ['mmengine_loaders.py']


def test_the_option_runs_it_and_says_so(
    evil: str, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr('saip.checkpoint.io.print_log', lambda text, *_: said.append(text))
    monkeypatch.setenv('SAIP_UNSAFE_PICKLE', '0')
    with pytest.raises(CheckpointError, match=REFUSED):
        load_checkpoint_file(evil)
    monkeypatch.setenv('SAIP_UNSAFE_PICKLE', '1')
    model = Model(init_cfg=pretrained(evil))
    with torch.no_grad():
        model.head.layer.weight.zero_()
    model.init_weights()
    stored = torch.load(evil, weights_only=False)['state_dict']
    assert torch.equal(model.head.layer.weight, stored['head.layer.weight'])
    assert len(said) == 1
    assert evil in said[0]
    assert 'SAIP_UNSAFE_PICKLE' in said[0]
    marker.unlink()
    assert set(load_checkpoint_file(evil)) == {'state_dict', 'meta', 'more'}
    assert marker.exists()


def test_a_training_checkpoint_still_loads(training: Path) -> None:
    stored = CheckpointLoader.load_checkpoint(str(training), 'cpu')
    assert stored['message_hub']['log_scalars']['train/loss'].mean() == 2.5
    assert stored['message_hub']['runtime_info']['n'] == 3


def test_what_the_libraries_say_of_their_data_still_loads(tmp_path: Path) -> None:
    """mmpose keeps colors and weights of landmarks as arrays beside the weights."""
    said = {
        'colors': np.arange(6, dtype=np.uint8).reshape(2, 3),
        'weights': np.ones(2, np.float32),
        'half': np.ones(2, np.float16),
        'names': np.array(['nose', 'eye']),
        'flip': [np.int16(1), np.uint64(2)],
    }
    torch.save({'state_dict': {}, 'meta': {'dataset_meta': said}}, tmp_path / 'pose.pth')
    for read in (load_checkpoint_file, CheckpointLoader.load_checkpoint):
        found = read(str(tmp_path / 'pose.pth'))['meta']['dataset_meta']
        assert {name: np.array(found[name]).tolist() for name in said} == {
            name: np.array(value).tolist() for name, value in said.items()
        }


@pytest.mark.parametrize('zipped', [True, False])
def test_a_plain_state_dict_still_loads(tmp_path: Path, zipped: bool) -> None:
    source, model = Model(), Model()
    path = tmp_path / 'plain.pth'
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=zipped)
    load_checkpoint(model, str(path), map_location='cpu', strict=True)
    assert torch.equal(model.head.layer.weight, source.head.layer.weight)
    other = CheckpointLoader.load_checkpoint(str(path), lambda storage, place: storage)
    assert torch.equal(other['head.layer.weight'], source.head.layer.weight)
