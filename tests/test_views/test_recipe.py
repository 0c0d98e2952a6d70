from fractions import Fraction

import pytest

from saip.datasets.views import masked_grids
from saip.datasets.views.sizes import multires_sizes, paste_scale, whole_patches
from tests.test_views.view_recipes import PRESETS, make_recipe

OFFICIAL = PRESETS['saip-official']


def test_scaled_sizes():
    recipe = make_recipe(size=(256, 128))
    assert multires_sizes(recipe, (6, 7, 11, 12)) == [
        (192, 96),
        (224, 112),
        (352, 176),
        (384, 192),
    ]
    assert masked_grids(recipe) == ((12, 6), (14, 7), (18, 9), (20, 10), (22, 11), (24, 12))
    assert whole_patches((128, 64), 7, 16) == (112, 64)  # 3.5 patches round up
    official = make_recipe('saip-official', size=(256, 128))
    assert multires_sizes(official, (7, 9)) == [(56, 28), (72, 36)]
    assert masked_grids(official) == ((20, 10),)


@pytest.mark.parametrize(
    ('size', 'scale'),
    [((256, 128), '1/2'), ((256, 192), '3/8'), ((384, 128), '3/8'), ((224, 224), '1/3')],
)
def test_paste_scale_follows_the_scene(size, scale):
    assert paste_scale(make_recipe(size=size)) == Fraction(scale)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'anchor': {'aria': (0.8, 1.0)}}, ['aria', 'area, blur, solarize, aspect']),
        ({'extra': {}}, ['extra', 'multires']),
        ({'anchor': None}, ['anchor is missing']),
        ({'size': (250, 128)}, ['250x128', 'patch size 16']),
        ({'augmented': None}, ["'augmented'", 'anchor, locals, multires, scene']),
        ({'multires': {'source': 'crop'}}, ['crop', 'anchor, official']),
        ({'multires': {'number': 7}}, ['number=7', 'eighths']),
        ({'masked': {'ratio': 0.999}}, ['ratio=0.999']),
        ({'masked': {'source': 'multires', 'eighths': (6,)}}, ['eighths']),
        ({'scene': {'layout': 'tiled'}}, ['tiled', 'visible, overlap, official']),
        ({'scene': {'layout': 'official'}}, ["multires.source='official'"]),
        ({'scene': {'others': 2}}, ['others']),
        ({'scene': {'size': (64, 64)}, 'size': (256, 128)}, ['256x128', '64x64']),
        ({'size': (256,)}, ['size', '(height, width)', '(256,)']),
        ({'size': 256}, ['size', '(height, width)', '256']),
        ({'size': '256x128'}, ['size', '(height, width)']),
        ({'anchor': {'area': 0.8}}, ['anchor.area', '(smallest, largest)', '0.8']),
        ({'anchor': {'area': (0.8, 1.2)}}, ['anchor.area', 'at most 1', '1.2']),
        ({'anchor': {'area': (1.0, 0.5)}}, ['anchor.area']),
        ({'augmented': {'aspect': (-1, 2)}}, ['augmented.aspect', 'above 0']),
        ({'augmented': {'blur': 2}}, ['augmented.blur', 'from 0 to 1']),
        ({'locals': {'size': (100, 64)}}, ['locals.size', '100x64', 'patch size 16']),
        ({'locals': {'number': 0}}, ['locals.number', '0']),
        ({'multires': {'eighths': ()}}, ['multires.eighths']),
        ({'multires': {'eighths': (6, 7.5)}}, ['multires.eighths', '7.5']),
        ({'masked': {'ratio': 0}}, ['masked.ratio', 'between 0 and 1']),
        ({'masked': {'ratio': '3/4'}}, ['masked.ratio']),
        ({'scene': {'size': (230, 224)}}, ['scene.size', '230x224']),
        ({'scene': {'alpha': 7}}, ['scene.alpha', '7']),
        ({'jitter': {'hue': 0.6}}, ['jitter.hue', '0.5']),
        ({'jitter': {'contrast': -0.4}}, ['jitter.contrast']),
        ({'gray': None}, ['gray']),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_with_the_reason(changes, words):
    with pytest.raises(ValueError, match='view recipe') as error:
        make_recipe(**changes)
    for word in words:
        assert word in str(error.value)


def test_official_recipe_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match='10/8 of 224x224, which is 280x280'):
        make_recipe('saip-official', size=(224, 224))
    wide = {**OFFICIAL['locals'], 'size': (128, 112)}
    with pytest.raises(ValueError, match='at most 222x111; got 128x112'):
        make_recipe('saip-official', size=(256, 128), locals=wide)
    make_recipe('saip-official', size=(256, 128), locals={**wide, 'size': (128, 111)})
    small = {**OFFICIAL['locals'], 'size': (32, 16)}
    with pytest.raises(ValueError, match='32x16 reduced to 24x12 hold no whole patch of 16'):
        make_recipe('saip-official', size=(256, 128), locals=small)
    with pytest.raises(ValueError, match='needs locals'):
        make_recipe('saip-official', size=(256, 128), locals=None)
