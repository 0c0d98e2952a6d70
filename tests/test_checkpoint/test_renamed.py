"""Names of earlier versions: files are read, configurations are told the new place."""

import pytest
import torch
from mmengine.config import Config

from saip.checkpoint import CheckpointError, load_checkpoint_file
from saip.checkpoint.renamed import (
    HISTORY,
    drop_unread_twins,
    rename_state_key,
    translate_checkpoint,
)
from saip.engine.launch import read_config
from saip.engine.preflight import ConfigKeyError, check_config, check_options
from saip.engine.resume import compare_weights, own_and_given, shapes_of
from saip.registry import MODELS
from tests.test_recordings import old
from tests.test_recordings.cases import model_config
from tests.tiny import preset_config


@pytest.mark.parametrize('case', old.SMALL_CASES, ids=lambda case: case.name)
def test_a_checkpoint_of_the_first_form_has_todays_weights(case, tmp_path):
    path = old.checkpoint(case, tmp_path)
    checkpoint = load_checkpoint_file(path)
    model = MODELS.build(model_config(case, tmp_path))
    assert any(key.startswith('expert.projector.') for key in checkpoint['state_dict'])
    compare_weights(*own_and_given(model, shapes_of(checkpoint)), str(path))
    translate_checkpoint(checkpoint)
    assert list(checkpoint['state_dict']) == list(model.state_dict())
    hub = checkpoint['message_hub']
    for part in ('log_scalars', 'resumed_keys'):
        assert 'train/csm_teacher_entropy' in hub[part]
        assert not hub[part].keys() & HISTORY.keys()


def test_weights_of_a_distributed_model_are_renamed_too():
    assert rename_state_key('module.expert.projector.x') == 'module.expert.csm_projector.x'
    assert rename_state_key('backbone.expert.projector.x') == 'backbone.expert.projector.x'
    checkpoint = {'state_dict': {'expert.projector.x': torch.zeros(1), 'b': torch.zeros(2)}}
    translate_checkpoint(checkpoint)
    assert list(checkpoint['state_dict']) == ['expert.csm_projector.x', 'b']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(custom_hooks=[dict(type='saip.ViewClockHook')]),
            r'custom_hooks.0.type=saip.ViewClockHook .*saip.ProgressHook',
        ),
        (
            dict(default_hooks=dict(expert=dict(type='ExpertUpdateHook', schedule='epoch'))),
            r'default_hooks.expert.type=.*model.expert.momentum.*saip.OfficialEMAExpert',
        ),
        (
            dict(custom_hooks=[dict(type='saip.FreezePrototypesHook', epochs=2)]),
            r'model.objectives.csm.frozen_epochs',
        ),
        (
            dict(log_processor=dict(custom_cfg=[dict(data_src='teacher_entropy')])),
            r'log_processor.custom_cfg.0.data_src=teacher_entropy.*csm_teacher_entropy',
        ),
        (dict(default_hooks=dict(x=dict(key='train/loss_over_ln_k'))), 'csm_loss_over_ln_k'),
        (dict(optim_wrapper=dict(constructor='saip.MatrixDecayConstructor')), 'NoBiasDecay'),
        (dict(model=dict(objectives=dict(a=dict(type='saip.TokenSpread')))), r'saip\.KoLeo'),
        (
            dict(model=dict(type='saip.SAIP', data_preprocessor=dict(locals=dict(number=4)))),
            r'model.data_preprocessor.locals is gone.*views.local_crops',
        ),
        (
            dict(test_evaluator=dict(rerank=dict(own_weight=0.3))),
            'own_weight is gone.*lambda_value',
        ),
        (
            dict(model=dict(type='SAIP', data_preprocessor=dict(scene=dict(others=1)))),
            r'model.data_preprocessor.scene is gone.*distractors',
        ),
        (
            dict(model=dict(type='saip.SAIP', data_preprocessor=dict(gray=0.1))),
            r'model.data_preprocessor.gray is gone: augment',
        ),
    ],
)
def test_a_config_that_names_what_is_gone_is_told_the_new_place(changes, message):
    check_config(Config(dict(model=dict(type='saip.SAIP'))))
    with pytest.raises(ConfigKeyError, match=message):
        check_config(Config(changes))


def test_averages_that_nothing_reads_are_dropped():
    state = {'expert.dense_norm.weight': 1, 'module.expert.dense_norm.bias': 2, 'b': 3}
    drop_unread_twins(state, {'expert.dense_norm.weight', 'b'})
    assert set(state) == {'expert.dense_norm.weight', 'b'}


def test_a_checkpoint_with_an_average_that_nothing_reads_fits_the_model(tmp_path):
    """Without css and csr nothing reads the expert's norm of dense features."""
    config = preset_config('saip')
    config.model.objectives.update(csr=None, css=None)
    model = MODELS.build(config.model)
    state = model.state_dict()
    assert not any(key.startswith('expert.dense_norm') for key in state)
    shapes = shapes_of({'state_dict': {**state, 'expert.dense_norm.weight': torch.zeros(48)}})
    compare_weights(*own_and_given(model, shapes), 'old.pth')
    other = {**shapes, 'expert.other': torch.Size([1])}
    with pytest.raises(CheckpointError, match=r'expert\.other'):
        compare_weights(*own_and_given(model, other), 'old.pth')


def test_an_option_that_is_gone_is_told_the_new_place():
    cfg = Config(dict(model=dict(type='saip.SAIP', data_preprocessor=dict(views={}))))
    with pytest.raises(ConfigKeyError, match=r'masked\.eighths is gone: .*views\.masked=dict'):
        check_options(cfg, ['model.data_preprocessor.masked.eighths'])


def test_an_option_whose_value_is_gone_is_told_the_new_name(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("optim_wrapper = dict(constructor='saip.NoBiasDecayConstructor')")
    options = {'optim_wrapper.constructor': 'saip.MatrixDecayConstructor'}
    with pytest.raises(ConfigKeyError, match=r'--cfg-options: .*saip\.NoBiasDecayConstructor'):
        read_config(str(path), options)
