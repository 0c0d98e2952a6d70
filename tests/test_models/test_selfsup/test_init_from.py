"""Beginning with parts of another training."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from saip.checkpoint import write_checkpoint
from saip.checkpoint.strict import WeightsError
from saip.engine.launch import drop_pretrained
from saip.registry import MODELS
from tests.tiny import preset_config

SIZE = (128, 64)


def method(preset: str = 'saip', size=SIZE, seed: int = 0, **options):
    """A preset in small, initialized."""
    cfg = preset_config(preset, size=size)
    torch.manual_seed(seed)
    model = MODELS.build({**cfg.model, **options})
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def source():
    """A training of another preset at four times the size, whose expert has moved away."""
    model = method('saip-paper', (256, 128), seed=5)
    with torch.no_grad():
        for parameter in model.expert.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


@pytest.fixture(scope='module')
def file(source, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('source') / 'training.pth'
    meta = {'architecture': source.backbone.architecture()}
    write_checkpoint(path, source.state_dict(), meta)
    return str(path)


def init_from(checkpoint: str, prefixes: dict, **options) -> dict:
    return dict(checkpoint=checkpoint, prefixes=prefixes, **options)


def resampled(pos_embed: torch.Tensor) -> torch.Tensor:
    """Of 16x8 patches and an image token at 8x4, by another way than the encoder's."""
    token, patches = pos_embed[:, :1], pos_embed[:, 1:]
    grid = patches.unflatten(1, (16, 8)).permute(0, 3, 1, 2)
    smaller = F.interpolate(grid, (8, 4), mode='bicubic', align_corners=False)
    return torch.cat([token, smaller.flatten(2).transpose(1, 2)], 1)


def assert_parts_equal(found, expected) -> None:
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if key.endswith('pos_embed'):
            torch.testing.assert_close(value, resampled(theirs[key]))
        else:
            assert torch.equal(value, theirs[key]), key


def test_named_parts_are_taken_over_and_others_begin_at_random(file, source):
    prefixes = {'backbone': 'backbone', 'objectives.csm.neck.': 'objectives.csm.neck.'}
    model, plain = method(init_from=init_from(file, prefixes)), method()
    assert_parts_equal(model.backbone, source.backbone)
    assert_parts_equal(model.objectives['csm'].neck, source.objectives['csm'].neck)
    for name in ('csr', 'css'):
        ours, begun = (each.objectives[name].state_dict() for each in (model, plain))
        assert all(torch.equal(ours[key], begun[key]) for key in ours)
    # No prefix leads to the expert: it is the student's, projector included.
    for name, twin in model.expert.named_children():
        parts = {'backbone': model.backbone, 'dense_norm': model.dense_norm}
        student = parts.get(name, model.objectives['csm'].neck)
        ours, theirs = twin.state_dict(), student.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


@pytest.mark.parametrize('prefix', ['expert.backbone', 'expert.backbone.'])
def test_an_expert_to_which_a_prefix_leads_is_the_files(file, source, prefix):
    prefixes = {'backbone': 'backbone', prefix: prefix}
    model = method(init_from=init_from(file, prefixes))
    assert_parts_equal(model.backbone, source.backbone)
    assert_parts_equal(model.expert.backbone, source.expert.backbone)
    twin, neck = (
        model.expert.csm_projector.state_dict(),
        model.objectives['csm'].neck.state_dict(),
    )
    assert all(torch.equal(twin[key], neck[key]) for key in neck)


def test_the_student_can_begin_as_the_files_expert(file, source):
    model = method(init_from=init_from(file, {'expert.backbone': 'backbone'}))
    assert_parts_equal(model.backbone, source.expert.backbone)
    assert_parts_equal(model.expert.backbone, source.expert.backbone)


def test_positions_are_resampled_in_whatever_part_an_encoder_lies(source, file):
    """Of a whole expert the encoder is only a part."""
    extra = method().expert.state_dict().keys() - source.expert.state_dict().keys()
    model = method(
        init_from=init_from(
            file, {'expert': 'expert'}, allow_missing=[f'expert.{key}' for key in extra]
        )
    )
    assert_parts_equal(model.expert.backbone, source.expert.backbone)


def test_keys_of_any_beginning_can_be_led_anywhere(source, tmp_path):
    """A file of another project: other beginnings, strangers beside them, no word of itself."""
    state = {f'module.net.{k}': x for k, x in source.backbone.state_dict().items()}
    state |= {'module.queue': torch.zeros(3), 'center': torch.zeros(2)}
    torch.save(state, tmp_path / 'raw.pth')
    prefixes = {'module.net': 'backbone'}
    model = method(init_from=init_from(str(tmp_path / 'raw.pth'), prefixes))
    assert_parts_equal(model.backbone, source.backbone)


def without(source, *beginnings: str, folder: Path, **more: torch.Tensor) -> str:
    """The source's file with some keys left out, and others in it."""
    state = {k: x for k, x in source.state_dict().items() if not k.startswith(beginnings)}
    path = folder / 'changed.pth'
    meta = {'architecture': source.backbone.architecture()}
    write_checkpoint(path, state | more, meta)
    return str(path)


def test_what_is_missing_is_refused_unless_it_may_be(source, tmp_path):
    path = without(source, 'backbone.ln1', 'backbone.layers.3.', folder=tmp_path)
    same = {'backbone': 'backbone'}
    with pytest.raises(WeightsError, match=r'missing: .*init_from\.allow_missing'):
        method(init_from=init_from(path, same))
    with pytest.raises(WeightsError, match=r'missing: ln1\.weight, ln1\.bias\.'):
        method(init_from=init_from(path, same, allow_missing='backbone.layers.3.'))
    allowed = ('backbone.layers.3.', 'backbone.ln1')
    model, plain = method(init_from=init_from(path, same, allow_missing=allowed)), method()
    for key, value in model.backbone.state_dict().items():
        begun = f'backbone.{key}'.startswith(allowed)
        origin = plain if begun else source
        if key != 'pos_embed':
            assert torch.equal(value, origin.backbone.state_dict()[key]), key
    # `allow_missing` names keys of the model that the file may lack, not ones it may have more of.
    more = {'backbone.extra': torch.zeros(1)}
    path = without(source, folder=tmp_path, **more)
    with pytest.raises(WeightsError, match='1 keys match nothing: extra'):
        method(init_from=init_from(path, same, allow_missing=('backbone.',)))


def test_what_cannot_be_loaded_is_refused_with_the_reason(source, file, tmp_path):
    # A projector of the same shape but for its width.
    cfg = preset_config('saip', size=SIZE)
    cfg.model.objectives.csm.neck.hidden_channels = 24
    cfg.model.init_from = init_from(file, {'objectives.csm.neck': 'objectives.csm.neck'})
    with pytest.raises(
        WeightsError, match=r'shapes differ: .*\(32, 48\) instead of \(24, 48\)'
    ):
        MODELS.build(cfg.model).init_weights()
    for prefixes, error, message in [
        ({'backbon': 'backbone'}, WeightsError, "no key begins with 'backbon.'"),
        ({'backbone': 'encoder'}, ValueError, "the model has no 'encoder'"),
        ({'backbone': ''}, ValueError, 'an empty beginning of keys in the model'),
        ({}, ValueError, 'prefixes='),
    ]:
        with pytest.raises(error, match=message):
            method(init_from=init_from(file, prefixes))
    with pytest.raises(ValueError, match='allow_missing'):
        method(init_from=init_from(file, {'backbone': 'backbone'}, strict=False))
    with pytest.raises(FileNotFoundError):
        method(init_from=init_from(str(tmp_path / 'gone.pth'), {'backbone': 'backbone'}))
    broken = {
        k: x * float('nan') for k, x in source.state_dict().items() if k == 'backbone.cls_token'
    }
    path = without(source, folder=tmp_path, **broken)
    with pytest.raises(WeightsError, match='not finite: cls_token'):
        method(init_from=init_from(path, {'backbone': 'backbone'}))


def test_another_architecture_is_refused(source, tmp_path):
    """Three heads and four have tensors of the same shapes."""
    path = tmp_path / 'heads.pth'
    architecture = source.backbone.architecture()
    architecture['arch'] = {**architecture['arch'], 'num_heads': 4}
    write_checkpoint(path, source.state_dict(), {'architecture': architecture})
    with pytest.raises(WeightsError, match='num_heads is 4 in the file and 3 in the model'):
        method(init_from=init_from(str(path), {'backbone': 'backbone'}))


def test_a_resumed_or_tested_model_does_not_read_the_file_again():
    cfg = preset_config('saip')
    cfg.model.init_from = init_from('gone.pth', {'backbone': 'backbone'})
    drop_pretrained(cfg.model)
    MODELS.build(cfg.model).init_weights()
