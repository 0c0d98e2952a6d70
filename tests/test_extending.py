"""docs/extending.md is executed: its files are written, its commands are run."""

import os
import re
import shutil
import subprocess
import sys
from inspect import isabstract
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from saip.models.backbones import HierarchicalEncoder
from saip.registry import MODELS, VIEWS
from tests.tiny import ROOT, batch, losses, preset_config, progress

PAGE = (ROOT / 'docs/extending.md').read_text()
# `FILE` in `FOLDER`, the end of the sentence above a block.
FILES = re.findall(
    r'`([\w.-]+\.py)` in\s+`([\w./-]+)`:\n\n```python\n(.*?)```', PAGE, re.DOTALL
)
COMMANDS = re.findall(r'```bash\n(.*?)```', PAGE, re.DOTALL)
LEAF = 'saip_{}_8xb256-amp-coslr-300e_lup1m.py'


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> Path:
    """The repository as a user has it who has written the page's files."""
    root = tmp_path_factory.mktemp('extended')
    for folder in ('configs', 'tests'):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ('tools', 'docs', 'pyproject.toml'):
        (root / name).symlink_to(ROOT / name)
    for name, folder, code in FILES:
        path = root / folder / name
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return root


@pytest.fixture(scope='module')
def run(tree):
    """Run a block of commands in the tree and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith('PYTEST_')}
    environment['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{environment["PATH"]}'

    def bash(commands: str) -> str:
        done = subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', commands],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f'{commands}\n{done.stdout}\n{done.stderr}'
        return done.stdout

    return bash


def test_every_block_is_used():
    blocks = re.findall(r'```\w*\n.*?```', PAGE, re.DOTALL)
    assert len(blocks) == len(FILES) + len(COMMANDS) + 1  # the one that asks the network
    assert (len(FILES), len(COMMANDS)) == (9, 3)


def test_the_network_answers_what_is_shown(capsys):
    code = re.findall(r'```python\n(from saip.models.backbones.*?)```', PAGE, re.DOTALL)[0]
    exec(code, {})
    assert capsys.readouterr().out.strip() == code.rsplit('# ', 1)[1].strip()


def test_the_fragment_states_what_the_network_has(tree):
    cfg = Config.fromfile(tree / 'configs/_base_/backbones/mobilenetv4-conv-s.py')
    encoder = MODELS.build(cfg.backbone)
    assert cfg.embed_dims == encoder.embed_dims
    assert cfg.pyramid_channels == [encoder.map_channels[s] for s in (4, 8, 16, 32)]
    assert cfg.last_stride == max(encoder.map_channels)
    count = sum(p.numel() for p in encoder.parameters())
    assert f': {count / 1e6:.2f}M parameters' in cfg.text


def test_the_tests_hold_for_the_fragment(run):
    passed = re.search(r'(\d+) passed', run(COMMANDS[0]))
    assert passed is not None
    assert int(passed[1]) > 10


@pytest.fixture(scope='module')
def trial(run) -> str:
    """What the trial pretraining and its export print."""
    return run(COMMANDS[1])


def test_from_nothing_to_an_exported_backbone(trial, tree):
    steps = re.findall(r'Epoch\(train\).*?\[2/2\].*? loss: ([\d.]+)', trial)
    assert len(steps) == 1
    (exported,) = (tree / 'work_dirs/trial').glob('mobilenetv4-conv-s-*.pth')
    trained = torch.load(exported, weights_only=True)['state_dict']
    assert all(key.startswith('backbone.timm_model.') for key in trained)


@pytest.mark.usefixtures('trial')
def test_from_the_exported_backbone_to_a_pose_model(run):
    pytest.importorskip('mmpose')
    loss = re.search(r'^loss (\S+)$', run(COMMANDS[2]), re.M)
    assert loss is not None
    assert 0 < float(loss[1]) < 10


def test_the_pose_config_stops_without_weights(tree, monkeypatch):
    pytest.importorskip('mmpose')
    monkeypatch.delenv('SAIP_INIT', raising=False)
    with pytest.raises(KeyError, match='SAIP_INIT'):
        Config.fromfile(tree / 'mine/td-hm_mobilenetv4-conv-s_coco-256x192.py')


def test_the_config_of_its_own_is_the_one_that_takes_any(tree, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'mobilenetv4-conv-s')
    taken = Config.fromfile(tree / 'configs/pretrain/saip' / LEAF.format('any-backbone'))
    own = Config.fromfile(tree / 'mine' / LEAF.format('mobilenetv4-conv-s'))
    assert {**own.to_dict(), 'work_dir': taken.work_dir} == taken.to_dict()
    with torch.device('meta'):
        assert MODELS.build(own.model).backbone.embed_dims == 1280


@pytest.fixture
def registered(tree, monkeypatch):
    """Reading a config of the page imports and registers its classes; undone afterwards."""
    monkeypatch.syspath_prepend(str(tree))
    added = (
        (MODELS.module_dict, 'TokenAgreement'),
        (VIEWS.module_dict, 'UpperBody'),
        (sys.modules, 'mine.agreement'),
        (sys.modules, 'mine.upper_body'),
    )
    for names, key in added:
        assert key not in names
        monkeypatch.setitem(names, key, None)
        del names[key]


def one_objective(path: Path, **preprocessor):
    """The terms of one step with the agreement alone, and the model."""
    added = Config.fromfile(path)
    assert set(added.model.objectives) == {'csm', 'csr', 'css', 'agreement'}
    cfg = preset_config('saip', size=(128, 64), **preprocessor)
    cfg.model.objectives = {'agreement': added.model.objectives.agreement}
    cfg.model.backbone.feature_level = None
    model = MODELS.build(cfg.model)
    model.init_weights()
    return losses(model.train(), batch(2)), model


@pytest.mark.usefixtures('registered')
def test_the_objective_joins_a_step(tree):
    path = tree / 'mine' / LEAF.format('vit-tiny-p16').replace('saip_', 'agreement_')
    terms, model = one_objective(path)
    assert set(terms) == {'loss_agreement'}
    assert 0 <= float(terms['loss_agreement'].detach()) <= 0.5 * 2
    terms['loss_agreement'].backward()
    assert all(p.grad is not None for p in model.backbone.parameters())


@pytest.mark.usefixtures('registered')
def test_the_view_is_made_of_the_upper_half(tree):
    path = tree / 'mine' / LEAF.format('vit-tiny-p16').replace('saip_', 'upper-body_')
    views = Config.fromfile(path).model.data_preprocessor.views
    assert set(views) > {'anchor', 'multires', 'upper_body'}
    terms, model = one_objective(path, views=dict(upper_body=dict(views.upper_body)))
    assert set(terms) == {'loss_agreement'}
    views = model.data_preprocessor
    # White above, black below: a crop of the upper half is white.
    data = batch(2)
    data['canvas'] = torch.cat(
        [torch.full((2, 3, 160, 160), 255), torch.zeros(2, 3, 160, 160)], 2
    )
    data['canvas'] = data['canvas'].to(torch.uint8)
    views.begin_step(progress())
    images = views(data, training=True)['inputs']['upper_body'].images
    assert images.shape == (2, 3, 128, 128)
    white = (255 - views.mean) / views.std
    inner = images[..., :-8, :]  # the last rows are interpolated with what is below
    torch.testing.assert_close(inner, white.expand_as(inner), rtol=0, atol=1e-4)


def test_the_data_set_takes_the_place_of_another(tree):
    leaf = tree / 'configs/pretrain/saip' / LEAF.format('vit-tiny-p16')
    changed = leaf.with_name('street.py')
    changed.write_text(leaf.read_text().replace('data/lup1m.py', 'data/street.py'))
    cfg = Config.fromfile(changed)
    assert cfg.train_dataloader.dataset.data_root == 'data/street'
    assert cfg.val_dataloader.dataset.part == 'held_back'
    assert cfg.train_dataloader.batch_size == 256


def test_the_table_names_what_an_encoder_with_stages_must_write():
    assert isabstract(HierarchicalEncoder)
    section = PAGE[PAGE.index('## An encoder of another kind') : PAGE.index('## An objective')]
    named = set(re.findall(r'^\| `(\w+)\(', section, re.M))
    assert named == HierarchicalEncoder.__abstractmethods__
