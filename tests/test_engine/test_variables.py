"""Environment variables of configurations: the value as it is, never executed, never empty."""

import json
import os
import re
import subprocess
import sys

import pytest
from mmengine.config import Config

from saip.configs import VARIABLES, variable
from saip.engine.launch import StartError, read_config
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
FOLDER = ROOT / 'configs/pretrain/quickstart/saip-small_any-backbone_1xb32-amp-coslr_folder.py'
DATA = ROOT / 'configs/pretrain/saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
REID = ROOT / 'configs/downstream/reid/transreid_market1501.py'
PEOPLE = ROOT / 'configs/pretrain/quickstart/saip-small_any-backbone_1xb32-amp-coslr_people.py'
EXPERT = ROOT / 'configs/pretrain/saip/saip-star_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
FROM_DINO = (
    ROOT
    / 'configs/pretrain/solider'
    / 'solider-from-dino_vit-tiny-p16_8xb48-amp-coslr-10e-orig-recipe_lup1m.py'
)
COMPARE = ROOT / ('configs/pretrain/compare/any-method_any-backbone_1xb32-amp-coslr_folder.py')
HAP = ROOT / 'configs/pretrain/hap/hap_any-backbone_1xb256-amp-coslr_folder.py'
TEXT_REID = ROOT / 'configs/downstream/text_reid/irra_cuhk-pedes.py'
TOKENS = ROOT / 'configs/pretrain/cae/cae-dvae_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
CAE_ENCODER = ROOT / 'configs/downstream/_base_/cae_encoder.py'
READERS = {
    'SAIP_BACKBONE': FOLDER,
    'SAIP_BPE': TEXT_REID,
    'SAIP_DATA': REID,
    'SAIP_DINO': FROM_DINO,
    'SAIP_EPOCHS': FOLDER,
    'SAIP_EXPERT': EXPERT,
    'SAIP_FOLDER': FOLDER,
    'SAIP_INIT': REID,
    'SAIP_KEYPOINTS': HAP,
    'SAIP_LABELED': DATA,
    'SAIP_LAYER_SCALE': CAE_ENCODER,
    'SAIP_METHOD': COMPARE,
    'SAIP_PEOPLE': PEOPLE,
    'SAIP_RETRIEVAL': DATA,
    'SAIP_SCHEDULE': REID,
    'SAIP_TEXT_INIT': TEXT_REID,
    'SAIP_TOKENIZER': TOKENS,
}
AWKWARD = (
    "/data/bob's crops",
    '/data/"quoted"',
    r'C:\new\1',
    "x'+str(1)+'y",
    'x"+str(1)+"y',
    '/data/{a}/{b}',
    '/data/a, b',
)


def test_every_variable_of_a_config_is_listed_and_read():
    text = '\n'.join(path.read_text() for path in (ROOT / 'configs').rglob('*.py'))
    used = re.findall(r"(?:variable|number)\('(\w+)'|\{\{\$(\w+):", text)
    assert {one or other for one, other in used} == set(VARIABLES) == set(READERS)
    # These names are parts of paths in _base_, which no function can give.
    assert set(re.findall(r'\{\{\$(\w+):', text)) == {'SAIP_BACKBONE', 'SAIP_METHOD'}


@pytest.mark.parametrize('name', VARIABLES)
def test_an_empty_variable_is_named_with_what_it_may_hold(name, monkeypatch):
    monkeypatch.setenv(name, '')
    with pytest.raises(StartError, match=f'{name} is set, but empty') as caught:
        read_config(str(READERS[name]))
    assert VARIABLES[name] in str(caught.value)


@pytest.mark.parametrize('value', AWKWARD)
@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('SAIP_FOLDER', 'train_dataloader.dataset.data_root'),
        ('SAIP_RETRIEVAL', 'val_dataloader.dataset.data_root'),
    ],
)
@pytest.mark.parametrize('read', [read_config, Config.fromfile])
def test_a_path_is_read_as_it_is(name, key, value, read, monkeypatch):
    monkeypatch.setenv(name, value)
    cfg = read(str(FOLDER))
    for part in key.split('.'):
        cfg = cfg[part]
    assert cfg == value


@pytest.mark.parametrize('value', AWKWARD)
def test_a_pasted_variable_is_text(value, tmp_path, monkeypatch):
    path = tmp_path / 'own.py'
    path.write_text('single = \'{{$PLACE:none}}\'\ndouble = "{{$PLACE:none}}/x"\n')
    monkeypatch.setenv('PLACE', value)
    cfg = read_config(str(path))
    assert (cfg.single, cfg.double) == (value, value + '/x')


def test_a_pasted_variable_outside_a_string_is_a_plain_value(tmp_path, monkeypatch):
    path = tmp_path / 'own.py'
    path.write_text("number = {{'$NUMBER:80'}}\n")
    monkeypatch.setenv('NUMBER', '-5')
    assert read_config(str(path)).number == -5
    monkeypatch.setenv('NUMBER', 'exit()')
    with pytest.raises(StartError, match=r'NUMBER=exit\(\): this value would be executed'):
        read_config(str(path))


def test_an_encoder_that_is_code_is_only_a_missing_file(monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', "x'+str(1)+'y")
    with pytest.raises(StartError, match=r"there is no .*x'\+str\(1\)\+'y\.py"):
        read_config(str(FOLDER))


def test_a_variable_that_is_not_set_is_its_default(monkeypatch):
    monkeypatch.delenv('SAIP_FOLDER', raising=False)
    assert variable('SAIP_FOLDER', 'data/crops') == 'data/crops'


def test_weights_with_awkward_names_reach_a_downstream_task(monkeypatch):
    monkeypatch.setenv('SAIP_INIT', AWKWARD[0])
    assert read_config(str(REID)).model.backbone.init_cfg.checkpoint == AWKWARD[0]


def test_a_plain_mmengine_reads_the_same(tmp_path):
    script = (
        'import json, sys; from mmengine.config import Config\n'
        f'print(json.dumps(Config.fromfile({str(FOLDER)!r}).images.data_root))'
    )
    env = os.environ | {'SAIP_FOLDER': AWKWARD[3], 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script], env=env, capture_output=True, text=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == AWKWARD[3], done.stderr


@pytest.mark.parametrize('value', ['-1', 'base', 'inf', 'nan', '0,1'])
def test_a_variable_that_is_no_number_is_named(value, monkeypatch):
    monkeypatch.setenv('SAIP_LAYER_SCALE', value)
    with pytest.raises(StartError, match=f'SAIP_LAYER_SCALE={value}: it holds the LayerScale'):
        read_config(str(CAE_ENCODER))


def test_the_layer_scale_of_cae_comes_with_its_positions(monkeypatch):
    assert read_config(str(CAE_ENCODER)).cae_options == {}
    monkeypatch.setenv('SAIP_LAYER_SCALE', '1e-5')
    assert read_config(str(CAE_ENCODER)).cae_options == dict(
        layer_scale=1e-5, pos_init='sincos'
    )
