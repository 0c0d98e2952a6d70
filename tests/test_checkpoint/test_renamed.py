"""Names of earlier versions: files are read, configurations are told the new place."""

import lzma

import pytest
import torch
from mmengine.config import Config

from saip.checkpoint import load_checkpoint_file
from saip.checkpoint.renamed import HISTORY, rename_state_key, translate_checkpoint
from saip.engine.preflight import ConfigKeyError, check_config
from saip.engine.resume import compare_weights, shapes_of
from saip.registry import MODELS
from tests.test_recordings import old
from tests.test_recordings.cases import model_config

OLD = [case for case in old.OLD if (old.FOLDER / f'{old.file_name(case)}.xz').is_file()]


@pytest.mark.parametrize('case', OLD, ids=lambda case: case.name)
def test_a_checkpoint_of_the_first_form_has_todays_weights(case, tmp_path):
    path = tmp_path / 'old.pth'
    path.write_bytes(lzma.decompress((old.FOLDER / f'{old.file_name(case)}.xz').read_bytes()))
    checkpoint = load_checkpoint_file(path)
    model = MODELS.build(model_config(case, tmp_path))
    assert any(key.startswith('expert.projector.') for key in checkpoint['state_dict'])
    compare_weights(model, shapes_of(checkpoint), str(path))
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
    ],
)
def test_a_config_that_names_what_is_gone_is_told_the_new_place(changes, message):
    check_config(Config(dict(model=dict(type='saip.SAIP'))))
    with pytest.raises(ConfigKeyError, match=message):
        check_config(Config(changes))
