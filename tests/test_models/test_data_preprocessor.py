import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from saip.datasets.views.plan import ViewPlan
from saip.datasets.views.sizes import masked_grids
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.registry import MODELS
from saip.structures import Progress, Views
from saip.visualization.views import draw_views

RECIPE = {
    'size': (128, 64),
    'patch_size': 16,
    'anchor': {'area': (0.8, 1.0), 'blur': 1.0},
    'augmented': {'area': (0.8, 1.0), 'blur': 0.1, 'solarize': 0.2},
    'locals': {'number': 2, 'size': (64, 32), 'area': (0.05, 0.8), 'blur': 0.5},
    'multires': {},
    'masked': {},
    'scene': {'size': (112, 112), 'others': 1},
}


def draw(preprocessor, batch, step=0, per_epoch=1):
    """The plan of a step that is begun."""
    preprocessor.begin_step(Progress.at(step, 100, per_epoch))
    return preprocessor.draw(batch)


def render(preprocessor, batch, step=0, per_epoch=1) -> Views:
    """The views of a step that is begun."""
    preprocessor.begin_step(Progress.at(step, 100, per_epoch))
    return preprocessor(batch, training=True)['inputs']


def test_backgrounds_come_from_the_pool(tmp_path):
    for level in (40, 120, 200):
        Image.new('RGB', (90 + level, 60), (level,) * 3).save(tmp_path / f'{level}.png')
    plain = {'probability': 0.0}
    recipe = {**RECIPE, 'jitter': plain, 'gray': 0.0, 'background_pool': str(tmp_path)}
    preprocessor = ViewsPreprocessor(**recipe)
    batch = make_batch(8)
    plan = draw(preprocessor, batch)
    assert plan.pool is None  # nothing is read before the first batch
    views = render(preprocessor, batch)
    plan = draw(preprocessor, batch)
    assert len(set(plan.pool)) > 1
    levels = np.array([120, 200, 40])[plan.pool]  # in the order of the file names
    scene = views.images['scene'] * preprocessor.std + preprocessor.mean
    for i, level in enumerate(levels):
        level = 255 - level if plan.random['background'].solarize[i] and level > 127 else level
        shown = (scene[i] - float(level)).abs().amax(0) < 1
        # The pastes cover at most three fifths of the scene.
        assert shown.float().mean() > 0.3
    again = ViewPlan.from_dict(plan.to_dict())
    assert np.array_equal(again.pool, plan.pool)
    assert not np.array_equal(draw(preprocessor, batch, 1).pool, plan.pool)


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
    preprocessor.begin_step(Progress.at(0, 1, 1))
    out = preprocessor(make_batch(), training=True)
    views = out['inputs']
    assert isinstance(views, Views)
    assert set(views.images) == {
        'anchor',
        'augmented',
        'locals',
        'multires_0',
        'multires_1',
        'masked',
        'scene',
    }
    assert views.images['locals'].shape == (8, 3, 64, 32)
    assert views.scene_masks.shape == (4, 2, 112, 112)
    grid = views.images['masked'].shape[-2] // 16, views.images['masked'].shape[-1] // 16
    assert views.mask.keep.shape == (4, grid[0] * grid[1] // 4)
    assert out['data_samples'] == {}
    assert grid in masked_grids(preprocessor.recipe)
    assert preprocessor.num_multires == 2
    assert preprocessor.size == (128, 64)
    assert not preprocessor.state_dict()


def test_only_selected_views_are_drawn_and_rendered(monkeypatch):
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()
    everything = render(preprocessor, batch)
    rendered: list[ViewPlan] = []
    original = preprocessor.renderer.render

    def spy(plan, canvas, names):
        rendered.append(plan)
        return original(plan, canvas, names)

    monkeypatch.setattr(preprocessor.renderer, 'render', spy)
    preprocessor.select(['anchor', 'multires'])
    views = render(preprocessor, batch)
    assert set(rendered[0].random) == {'anchor'}
    assert views.mask is None
    assert views.scene_masks is None
    assert set(views.images) == {'anchor', 'multires_0', 'multires_1'}
    for name, images in views.images.items():
        assert torch.allclose(images, everything.images[name], atol=1e-4)
    preprocessor.select({'masked'})
    views = render(preprocessor, batch)
    assert set(rendered[1].random) == {'augmented'}
    assert set(views.images) == {'masked'}


def test_unknown_views_are_named():
    preprocessor = ViewsPreprocessor(**{**RECIPE, 'scene': None})
    assert preprocessor.available_views == {
        'anchor',
        'augmented',
        'locals',
        'multires',
        'masked',
    }
    with pytest.raises(ValueError, match='no scene; it makes: anchor, augmented, locals'):
        preprocessor.select(['anchor', 'scene'])
    with pytest.raises(ValueError, match=r'unknown renderer .* device, reference'):
        ViewsPreprocessor(**RECIPE, renderer='fast')


def test_clock_and_seed_key_the_draws():
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()

    def views(step: int, per_epoch: int) -> dict[str, Tensor]:
        return render(preprocessor, batch, step, per_epoch).images

    first = views(3, 4)
    assert torch.equal(first['anchor'], views(3, 4)['anchor'])
    assert not torch.equal(first['anchor'], views(3, 3)['anchor'])  # of the second epoch
    assert torch.equal(first['scene'], views(3, 4)['scene'])
    other = render(ViewsPreprocessor(**RECIPE, seed=1), batch, 3, 4).images
    assert not torch.equal(first['anchor'], other['anchor'])


def test_evaluation_pictures_are_normalised():
    preprocessor = ViewsPreprocessor(**RECIPE, mean=(10, 20, 30), std=(2, 4, 5))
    image = torch.tensor([10, 24, 40], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 8, 4)
    out = preprocessor({'image': image, 'pid': torch.tensor([3, 4])}, training=False)
    assert out['inputs'][:, :, 0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert out['data_samples']['pid'].tolist() == [3, 4]


@pytest.mark.parametrize('augmented', [None, RECIPE['augmented']])
def test_two_views_do_not_depend_on_the_clock(augmented):
    recipe = {**RECIPE, 'augmented': augmented, 'masked': None}
    preprocessor, batch = ViewsPreprocessor(**recipe), make_batch()
    preprocessor.select(['locals'])
    first = preprocessor(batch, training=False)
    preprocessor.begin_step(Progress.at(50, 100, 16))
    again = preprocessor(batch, training=False)
    assert set(first['inputs']) == {'anchor', 'augmented'}
    for name, images in first['inputs'].items():
        assert images.shape == (4, 3, 128, 64)
        assert torch.equal(images, again['inputs'][name])
    assert not torch.equal(first['inputs']['anchor'], first['inputs']['augmented'])
    assert 'canvas' not in first['data_samples']


def test_autocast_does_not_reach_the_views():
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()
    plain = render(preprocessor, copy.deepcopy(batch)).images
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = render(preprocessor, batch).images
    for name, images in plain.items():
        assert torch.equal(images, cast[name])


@pytest.mark.parametrize('preset', ['saip', 'saip-paper', 'saip-official'])
def test_preset_recipes_render(preset):
    init_default_scope('saip')
    cfg = Config.fromfile(f'configs/pretrain/_base_/methods/{preset}.py')
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    views = render(preprocessor, make_batch(2))
    assert views.images['scene'].shape == (2, 3, 224, 224)
    sheet = draw_views(views, preprocessor, 1, make_batch(2)['canvas'][1])
    colours = {tuple(c) for c in np.asarray(sheet).reshape(-1, 3)}
    assert {(230, 60, 40), (30, 110, 220), (128, 128, 128)} <= colours


def test_a_batch_of_one():
    views = render(ViewsPreprocessor(**RECIPE), make_batch(1))
    assert views.images['scene'].isfinite().all()


def test_views_are_drawn_once_per_step_and_only_in_a_step():
    preprocessor, batch = ViewsPreprocessor(**RECIPE), make_batch()
    message = r'ProgressHook.*default_hooks'
    with pytest.raises(RuntimeError, match=message):
        preprocessor(batch, training=True)
    render(preprocessor, batch)
    with pytest.raises(RuntimeError, match=message):
        preprocessor(batch, training=True)
    preprocessor(batch, training=False)
