import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from saip.models import data_preprocessor
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.registry import MODELS
from saip.structures import Views
from saip.views import ViewPlan
from saip.visualization.views import draw_views
from tests.test_views.view_recipes import images_of
from tests.tiny import PRESETS, ROOT, progress

COLORS = {'jitter': {}, 'gray': 0.2, 'flip': 0.5}
VIEWS = {
    'anchor': {'type': 'Crop', 'augment': {**COLORS, 'blur': 1.0}},
    'augmented': {'type': 'Crop', 'augment': {**COLORS, 'blur': 0.1, 'solarize': 0.2}},
    'local_crops': {
        **{'type': 'Crop', 'number': 2, 'size': (64, 32), 'area': (0.05, 0.8)},
        'augment': {**COLORS, 'blur': 0.5},
    },
    'multires': {'type': 'Rescale'},
    'masked': {
        **{'type': 'Masked', 'of': 'augmented', 'scales': (0.75, 0.875, 1.125, 1.25)},
        'mask': {'type': 'RandomMask'},
    },
    'scene': {
        **{'type': 'Scene', 'size': (112, 112), 'distractors': 1},
        'augment': {**COLORS, 'blur': 0.1, 'solarize': 0.2},
    },
}
RECIPE = {'size': (128, 64), 'patch_size': 16, 'views': VIEWS}


def render(preprocessor: ViewsPreprocessor, batch: dict, step: int = 0) -> Views:
    """Views of a training step."""
    preprocessor.begin_step(progress(step))
    return preprocessor(batch, training=True)['inputs']


def draw(preprocessor: ViewsPreprocessor, batch: dict, step: int = 0) -> ViewPlan:
    """The plan of a training step."""
    preprocessor.begin_step(progress(step))
    return preprocessor.draw(batch)


def test_backgrounds_come_from_the_pool(tmp_path):
    for level in (40, 120, 200):
        Image.new('RGB', (90 + level, 60), (level,) * 3).save(tmp_path / f'{level}.png')
    inverted = {'solarize': 0.2}
    views = {**VIEWS, 'scene': {**VIEWS['scene'], 'augment': inverted}}
    preprocessor = ViewsPreprocessor(
        **{**RECIPE, 'views': views}, background_pool=str(tmp_path)
    )
    batch = make_batch(8)
    plan = draw(preprocessor, batch)
    # Nothing is read before the first batch.
    assert not plan.draws['scene'].crops['background'].pool.any()
    scene = render(preprocessor, batch)['scene'].images
    scene = scene * preprocessor.std + preprocessor.mean
    plan = draw(preprocessor, batch)
    background = plan.draws['scene'].crops['background']
    assert background.pool.all()
    assert len(set(background.source)) > 1
    levels = np.array([120, 200, 40])[background.source]  # in the order of the file names
    for i, level in enumerate(levels):
        level = 255 - level if background.solarize[i] and level > 127 else level
        shown = (scene[i] - float(level)).abs().amax(0) < 1
        # The pastes cover at most three fifths of the scene.
        assert shown.float().mean() > 0.3
    again = ViewPlan.from_dict(plan.to_dict()).draws['scene'].crops['background']
    assert np.array_equal(again.source, background.source)
    later = draw(preprocessor, batch, step=10)
    assert not np.array_equal(
        later.draws['scene'].crops['background'].source, background.source
    )


def make_batch(count: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        'canvas': torch.randint(0, 256, (count, 3, 96, 48), generator=generator).byte(),
        'size': torch.randint(60, 300, (count, 2), generator=generator),
        'key': torch.randint(0, 2**62, (count,), generator=generator),
        'index': torch.arange(count),
        'replaced': torch.full((count,), -1),
    }


def test_training_batch():
    preprocessor = MODELS.build({'type': 'saip.ViewsPreprocessor', **RECIPE})
    preprocessor.begin_step(progress())
    out = preprocessor(make_batch(), training=True)
    views = out['inputs']
    assert isinstance(views, Views)
    assert set(views.by_name) == {
        'anchor',
        'augmented',
        'local_crops',
        'multires_0',
        'multires_1',
        'masked',
        'scene',
    }
    assert views['local_crops'].images.shape == (8, 3, 64, 32)
    assert views.targets['scene_masks'].shape == (4, 2, 112, 112)
    grid = tuple(side // 16 for side in views['masked'].images.shape[-2:])
    assert views['masked'].mask.keep.shape == (4, grid[0] * grid[1] // 4)
    assert [name for name, view in views.by_name.items() if view.mask] == ['masked']
    assert out['data_samples'] == {}
    assert grid in preprocessor.recipe['masked'].grids()
    assert preprocessor.recipe.names['multires'] == ('multires_0', 'multires_1')
    assert preprocessor.size == (128, 64)
    assert not preprocessor.state_dict()


def test_only_selected_views_are_drawn_and_rendered(monkeypatch):
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()
    everything = render(preprocessor, batch)
    rendered: list[ViewPlan] = []
    original = data_preprocessor.render

    def spy(recipe, plan, *args):
        rendered.append(plan)
        return original(recipe, plan, *args)

    monkeypatch.setattr(data_preprocessor, 'render', spy)
    preprocessor.select(['anchor', 'multires'])
    views = render(preprocessor, batch)
    assert set(rendered[0].draws) == {'anchor', 'multires'}
    assert views.targets == {}
    assert set(views.by_name) == {'anchor', 'multires_0', 'multires_1'}
    for name, images in images_of(views).items():
        assert torch.allclose(images, everything[name].images, atol=1e-4)
    preprocessor.select({'masked'})
    views = render(preprocessor, batch)
    assert set(rendered[1].draws) == {'augmented', 'masked'}
    assert set(views.by_name) == {'masked'}


def test_unknown_views_are_named():
    preprocessor = ViewsPreprocessor(**{**RECIPE, 'views': {**VIEWS, 'scene': None}})
    assert set(preprocessor.recipe.names) == {
        'anchor',
        'augmented',
        'local_crops',
        'multires',
        'masked',
    }
    with pytest.raises(ValueError, match='no scene; it makes: anchor, augmented, local_crops'):
        preprocessor.select(['anchor', 'scene'])
    with pytest.raises(ValueError, match=r'unknown renderer .* device, reference'):
        ViewsPreprocessor(**RECIPE, renderer='fast')
    with pytest.raises(ValueError, match=r'unknown resize_mode .* bilinear, nearest'):
        ViewsPreprocessor(**RECIPE, resize_mode='bicubic')


def test_progress_and_seed_key_the_draws():
    """Ten steps make an epoch: step 12 is in another one than step 0."""
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()
    first = render(preprocessor, batch)
    assert torch.equal(first['anchor'].images, render(preprocessor, batch)['anchor'].images)
    later = render(preprocessor, batch, step=12)
    assert not torch.equal(first['anchor'].images, later['anchor'].images)
    within = render(preprocessor, batch, step=9)
    assert torch.equal(first['anchor'].images, within['anchor'].images)
    assert torch.equal(first['scene'].images, render(preprocessor, batch)['scene'].images)
    other = render(ViewsPreprocessor(**RECIPE, seed=1), batch)
    assert not torch.equal(first['anchor'].images, other['anchor'].images)


def test_a_step_that_was_not_begun_or_is_drawn_twice_is_refused():
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch(2)
    message = r'once per step, after begin_step.*saip\.ProgressHook.*default_hooks'
    with pytest.raises(RuntimeError, match=message):
        preprocessor(batch, training=True)
    preprocessor.begin_step(progress())
    preprocessor(batch, training=True)
    for again in (preprocessor.draw, lambda data: preprocessor(data, training=True)):
        with pytest.raises(RuntimeError, match=message):
            again(batch)
    preprocessor(batch, training=False)  # evaluation needs none, and uses none up
    preprocessor.begin_step(progress())
    preprocessor(batch, training=False)
    preprocessor(batch, training=True)


def test_evaluation_images_are_normalized():
    preprocessor = ViewsPreprocessor(**RECIPE, mean=(10, 20, 30), std=(2, 4, 5))
    image = torch.tensor([10, 24, 40], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 8, 4)
    out = preprocessor({'image': image, 'pid': torch.tensor([3, 4])}, training=False)
    assert out['inputs'][:, :, 0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert out['data_samples']['pid'].tolist() == [3, 4]


LONE = {'anchor': {'type': 'Crop', 'area': (0.1, 0.2)}}


@pytest.mark.parametrize('views', [LONE, VIEWS])
def test_two_views_of_evaluation_depend_neither_on_progress_nor_on_the_recipe(views):
    preprocessor, batch = ViewsPreprocessor(**{**RECIPE, 'views': views}), make_batch()
    preprocessor.select(['anchor'])
    first = preprocessor(batch, training=False)
    preprocessor.begin_step(progress(35))
    again = preprocessor(batch, training=False)
    whole = ViewsPreprocessor(**RECIPE)(batch, training=False)
    assert set(first['inputs']) == {'anchor', 'augmented'}
    for name, images in first['inputs'].items():
        assert images.shape == (4, 3, 128, 64)
        assert torch.equal(images, again['inputs'][name])
        assert torch.equal(images, whole['inputs'][name])
    assert not torch.equal(first['inputs']['anchor'], first['inputs']['augmented'])
    assert 'canvas' not in first['data_samples']


def test_autocast_does_not_reach_the_views():
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()
    plain = render(preprocessor, copy.deepcopy(batch))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = render(preprocessor, batch)
    for name, images in images_of(plain).items():
        assert torch.equal(images, cast[name].images)


def preset_preprocessor(preset: str, **options) -> ViewsPreprocessor:
    init_default_scope('saip')
    path = ROOT / f'configs/pretrain/_base_/methods/{preset}.py'
    return MODELS.build({**Config.fromfile(path).model.data_preprocessor, **options})


def test_validation_looks_at_the_same_views_whatever_the_preset():
    batch = make_batch(2)
    found = [preset_preprocessor(p)(batch, training=False)['inputs'] for p in PRESETS]
    for other in found[1:]:
        for name in ('anchor', 'augmented'):
            assert torch.equal(found[0][name], other[name]), name


@pytest.mark.parametrize('preset', PRESETS)
def test_preset_recipes_render(preset):
    preprocessor = preset_preprocessor(preset)
    views = render(preprocessor, make_batch(2))
    assert views['scene'].images.shape == (2, 3, 224, 224)
    sheet = draw_views(views, preprocessor, 1, make_batch(2)['canvas'][1])
    colors = {tuple(c) for c in np.asarray(sheet).reshape(-1, 3)}
    assert {(230, 60, 40), (30, 110, 220), (128, 128, 128)} <= colors


def test_a_batch_of_one():
    views = render(ViewsPreprocessor(**RECIPE), make_batch(1))
    assert views['scene'].images.isfinite().all()
