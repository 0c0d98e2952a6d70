"""A checkpoint of another number of classes, for every head that is shipped."""

import copy
from functools import reduce
from operator import getitem

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

from saip.checkpoint import CheckpointError
from saip.engine.class_counts import compare_class_counts
from saip.engine.resume import shapes_of
from saip.registry import MODELS
from tests.tiny import ROOT, preset_config

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
LEAVES = sorted((ROOT / 'configs/downstream').glob('[!_]*/*.py'))
OPTIONS = {
    'attributes': 'head.num_classes',
    'classification': 'head.num_classes',
    'detection': 'roi_head.bbox_head.num_classes',
    'human_parsing': 'roi_head.bbox_head.num_classes',
    'part_segmentation': 'decode_head.num_classes',
    'pose': 'head.out_channels',
    'reid': 'head.num_classes',
    'text_reid': 'head.num_classes',
}
LEAVES = [leaf for leaf in LEAVES if leaf.parent.name in OPTIONS]  # garments are always 47


def model_of(leaf):
    cfg = Config.fromfile(leaf)
    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.default_scope)
    return cfg.model


def changed(model, option, value):
    model = copy.deepcopy(model)
    *path, name = option.split('.')
    reduce(getitem, path, model)[name] = value
    return model


def shapes(model):
    with torch.device('meta'):
        return shapes_of({'state_dict': MODELS.build(copy.deepcopy(model)).state_dict()})


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda leaf: leaf.stem)
def test_the_option_and_both_numbers_are_named(leaf):
    model, option = model_of(leaf), OPTIONS[leaf.parent.name]
    count = reduce(getitem, option.split('.'), model)
    own = shapes(model)
    compare_class_counts(own, own, model, 'file.pth')
    for other in (count + 1, 3 * count):
        given = shapes(changed(model, option, other))
        with pytest.raises(CheckpointError) as caught:
            compare_class_counts(own, given, model, 'file.pth')
        assert str(caught.value).startswith(
            f'file.pth: model.{option}={count}, but the file holds weights for {other}. '
        )
        assert str(caught.value).endswith(f'--cfg-options model.{option}={other}')


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda leaf: leaf.stem)
def test_another_encoder_is_no_matter_of_classes(leaf, monkeypatch):
    model = model_of(leaf)
    own = shapes(model)
    monkeypatch.setenv('SAIP_BACKBONE', 'resnet18')  # no encoder of the other model
    other = changed(model_of(leaf), OPTIONS[leaf.parent.name], 30)
    compare_class_counts(own, shapes(other), model, 'file.pth')


def test_prototypes_of_a_pretraining_with_the_twins_of_their_expert():
    model = preset_config('saip').model
    own = shapes(model)
    given = shapes(changed(model, 'objectives.csm.neck.out_channels', 96))
    text = r'objectives\.csm\.neck\.out_channels=64, but the file holds weights for 96'
    with pytest.raises(CheckpointError, match=text):
        compare_class_counts(own, given, model, 'file.pth')


def test_a_head_that_is_wider_too_is_left_to_the_comparison_of_weights():
    model = dict(head=dict(num_classes=3))
    own = {'head.fc.weight': torch.Size((3, 8)), 'backbone.weight': torch.Size((8, 3))}
    for key, shape in (('head.fc.weight', (4, 9)), ('backbone.weight', (9, 3))):
        given = {**own, 'head.fc.weight': torch.Size((4, 8)), key: torch.Size(shape)}
        compare_class_counts(own, given, model, 'file.pth')
