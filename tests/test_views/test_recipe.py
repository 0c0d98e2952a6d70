from fractions import Fraction

import pytest

from saip.views import Draw, Recipe
from saip.views.sizes import whole_patches
from tests.test_views.view_recipes import PRESETS, make_recipe

OFFICIAL = PRESETS['saip-official']


def rescaled(recipe, *scales: float):
    return list(recipe['multires'].sizes(Draw(values={'scales': scales})))


def test_scaled_sizes():
    recipe = make_recipe(size=(256, 128))
    assert rescaled(recipe, 0.75, 0.875, 1.375, 1.5) == [
        (192, 96),
        (224, 112),
        (352, 176),
        (384, 192),
    ]
    assert recipe['masked'].grids() == [(12, 6), (14, 7), (18, 9), (20, 10), (22, 11), (24, 12)]
    assert whole_patches((128, 64), 0.875, 16) == (112, 64)  # 3.5 patches round up
    official = make_recipe('saip-official', size=(256, 128))
    assert rescaled(official, 0.875, 1.125) == [(56, 28), (72, 36)]
    assert official['masked'].grids() == [(20, 10)]


def test_scales_are_the_written_numbers_and_not_their_binary_neighbors():
    # In binary 0.3 is a little less, and 160 * 0.3 / 16 = 3 patches would not be reached exactly.
    assert whole_patches((160, 80), 0.3, 16) == (48, 32)
    assert whole_patches((240, 80), 0.1, 16) == (32, 16)  # 1.5 patches round up


@pytest.mark.parametrize(
    ('size', 'scale'),
    [((256, 128), '1/2'), ((256, 192), '3/8'), ((384, 128), '3/8'), ((224, 224), '1/3')],
)
def test_paste_scale_follows_the_scene(size, scale):
    assert make_recipe(size=size)['scene'].paste_scale == Fraction(scale)


def augment(**options):
    return {'anchor': {'augment': options}}


def mask(**options):
    return {'masked': {'mask': {'type': 'RandomMask', **options}}}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'anchor': {'aria': (0.8, 1.0)}}, ['aria', 'number, size, area, aspect, augment']),
        ({'extra': {}}, ["extra: a dict with the view type's type"]),
        (
            {'extra': {'type': 'Kropp'}},
            ["extra: no view type 'Kropp'", 'Crop, Masked, Official'],
        ),
        ({'anchor': None}, ["multires: of='anchor'", '(augmented, local_crops)']),
        ({'size': (250, 128)}, ['250x128', 'patch size 16']),
        ({'augmented': None}, ["'augmented'", 'anchor, local_crops, multires, scene']),
        ({'multires': {'of': 'crop'}}, ["of='crop'", 'anchor, augmented, local_crops']),
        ({'multires': {'of': 'masked'}}, ["of='masked'", 'anchor, augmented, local_crops']),
        ({'multires': {'number': 7}}, ['number=7', 'scales']),
        (mask(ratio=0.999), ['masked.mask: ratio=0.999']),
        ({'masked': {'of': 'multires', 'scales': (0.75,)}}, ['several resolutions', 'scales']),
        ({'masked': {'of': 'local_crops'}}, ["of='local_crops' has 3 images per image"]),
        ({'scene': {'layout': 'tiled'}}, ['tiled', 'visible, overlap']),
        ({'other': {'type': 'OfficialScene'}}, ["other: crop='extra_local_crop'", '(anchor, ']),
        ({'scene': {'distractors': 2}}, ['scene.distractors', '0, 1']),
        ({'scene': {'queries': 'local_crops'}}, ["queries='local_crops' has 3 images"]),
        (
            {'scene': {'queries': 'heads'}},
            ["queries='heads'", 'anchor, augmented, local_crops'],
        ),
        ({'scene': {'size': (64, 64)}, 'size': (256, 128)}, ['384x192', '64x64']),
        ({'size': (256,)}, ['size', '(height, width)', '(256,)']),
        ({'size': 256}, ['size', '(height, width)', '256']),
        ({'size': '256x128'}, ['size', '(height, width)']),
        ({'anchor': {'area': 0.8}}, ['anchor.area', '(smallest, largest)', '0.8']),
        ({'anchor': {'area': (0.8, 1.2)}}, ['anchor.area', 'at most 1', '1.2']),
        ({'anchor': {'area': (1.0, 0.5)}}, ['anchor.area']),
        ({'augmented': {'aspect': (-1, 2)}}, ['augmented.aspect', 'above 0']),
        ({'augmented': {'augment': {'blur': 2}}}, ['augmented.augment.blur', 'from 0 to 1']),
        ({'local_crops': {'size': (100, 64)}}, ['local_crops.size', '100x64', 'patch size 16']),
        ({'local_crops': {'number': 0}}, ['local_crops.number', '0']),
        ({'multires': {'scales': ()}}, ['multires.scales']),
        ({'multires': {'scales': (0.75, '7/8')}}, ['multires.scales', '7/8']),
        ({'multires': {'scales': (0.75, 0)}}, ['multires.scales', 'above 0']),
        ({'masked': {'scales': 1.25}}, ['masked.scales', '1.25']),
        (mask(ratio=0), ['masked.mask.ratio', 'between 0 and 1']),
        (mask(ratio='3/4'), ['masked.mask.ratio']),
        (mask(share=0.5), ["masked.mask: RandomMask has no option 'share'", 'allowed: ratio']),
        (
            mask(type='PartsMask'),
            ["no masker 'PartsMask'", 'BlockMask, ComplementMask, OfficialMask, PartMask'],
        ),
        ({'masked': {'mask': None}}, ["masked.mask: a dict with the masker's type"]),
        ({'scene': {'size': (230, 224)}}, ['scene.size', '230x224']),
        ({'scene': {'alpha': 7}}, ['scene.alpha', '7']),
        (augment(jitter={'hue': 0.6}), ['anchor.augment.jitter.hue', '0.5']),
        (augment(jitter={'contrast': -0.4}), ['anchor.augment.jitter.contrast']),
        (augment(jitter={'color': 0.4}), ["'color'", 'probability, brightness, contrast']),
        (augment(gray=None), ['anchor.augment.gray']),
        (augment(grayscale=0.2), ["'grayscale'", 'jitter, gray, flip, blur, solarize']),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_with_the_reason(changes, words):
    with pytest.raises(ValueError, match='view recipe') as error:
        make_recipe(**changes)
    for word in words:
        assert word in str(error.value)


BLOCK = {'type': 'BlockMask'}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'mask': {**BLOCK, 'min_patches': 0}}, ['masked.mask.min_patches', 'from 1 on']),
        # The smallest grid of a 128x64 anchor is 6x3, of which 9 patches are hidden.
        ({'mask': BLOCK}, ['min_patches=16', 'only 9 patches', '(6, 3)']),
        ({'mask': {**BLOCK, 'min_patches': 4, 'min_aspect': 2}}, ['masked.mask.min_aspect']),
        ({'mask': {'type': 'ComplementMask', 'of': 'rest'}}, ["of='rest'", 'masked.mask']),
        ({'mask': {'type': 'ComplementMask', 'of': 'augmented'}}, ["of='augmented'"]),
    ],
)
def test_a_masker_that_does_not_fit_its_view_is_refused_with_the_reason(changes, words):
    with pytest.raises(ValueError, match='view recipe') as error:
        make_recipe(masked=changes)
    for word in words:
        assert word in str(error.value)


def complement(of: str, **options):
    return {
        'type': 'Masked',
        'of': of,
        'mask': {'type': 'ComplementMask', 'of': 'masked'},
    } | options


def test_a_complement_is_refused_where_it_could_be_of_another_size_or_no_batch():
    make_recipe(rest=complement('masked'))
    for other in (complement('augmented'), complement('masked', scales=(0.5,))):
        with pytest.raises(ValueError, match=r"rest\.of='masked' without scales"):
            make_recipe(rest=other)
    with pytest.raises(ValueError, match='the mask of masked hides a number'):
        make_recipe('saip-official', size=(256, 128), rest=complement('masked'))


def test_views_that_build_on_each_other_are_named():
    loop = {
        'masked': {'of': 'rest'},
        'rest': {'type': 'Masked', 'of': 'masked', 'mask': {'type': 'RandomMask'}},
    }
    with pytest.raises(ValueError, match='masked -> rest -> masked'):
        make_recipe(**loop)
    own = {'masked': {'mask': {'type': 'ComplementMask', 'of': 'masked'}}}
    with pytest.raises(ValueError, match='masked -> masked'):
        make_recipe(**own)


@pytest.mark.parametrize('preset', PRESETS)
def test_entries_may_be_written_in_any_order(preset):
    forward = make_recipe(preset)
    backward = Recipe((128, 64), 16, dict(reversed(PRESETS[preset].items())))
    assert forward.names == backward.names
    for name in forward.names:
        bases = backward.required([name])
        assert set(bases) == set(forward.required([name]))
        for i, base in enumerate(bases):
            assert set(backward[base].depends_on) <= set(bases[:i])


def test_official_recipe_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r'OfficialMask needs whole patches .* be 280x280'):
        make_recipe('saip-official', size=(224, 224))
    wide = {'size': (128, 112)}
    with pytest.raises(ValueError, match='at most 222x111; got 128x112'):
        make_recipe('saip-official', size=(256, 128), extra_local_crop=wide)
    make_recipe('saip-official', size=(256, 128), extra_local_crop={'size': (128, 111)})
    small = {'size': (32, 16)}
    with pytest.raises(ValueError, match='32x16 reduced to 24x12 hold no whole patch of 16'):
        make_recipe('saip-official', size=(256, 128), extra_local_crop=small)
    with pytest.raises(ValueError, match=r"multires: of='extra_local_crop' .*\(anchor, aug"):
        make_recipe('saip-official', size=(256, 128), extra_local_crop=None)


def test_two_entries_that_make_one_view_are_named():
    crop = {'type': 'Crop'}
    with pytest.raises(ValueError, match='multires and multires_0 both make a view multires_0'):
        make_recipe('saip', multires_0=crop)


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        ({'masked': {'type': 'Masked'}}, 'masked: Masked needs mask'),
        (
            {'masked': {'type': 'Masked', 'mask': {'type': 'ComplementMask'}}},
            r'masked\.mask: ComplementMask needs of',
        ),
        (None, 'views is a dict of views by name, not None'),
    ],
)
def test_what_is_missing_is_named(views, message):
    with pytest.raises(ValueError, match=message):
        Recipe((128, 64), 16, views)
