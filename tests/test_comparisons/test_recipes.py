"""What the comparison's configs say: recipes, figures of the paper, reduced sizes."""

import re

import pytest
from mmengine.config import Config

from tests.test_comparisons.method_runs import CONFIGS
from tests.tiny import ROOT

OURS = CONFIGS / 'saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
SAIP_RECIPE = sorted(CONFIGS.glob('*/*saip-recipe_lup1m.py'))
ENCODERS = {'ViT-Tiny': 'vit-tiny-p16', 'StarNet-S3': 'starnet-s3', 'TinyViT-5M': 'tinyvit-5m'}
# Base rate per 256 images, batch, warm-up and epochs as the methods' authors state them.
STATED = {
    'dino/dino_vit-tiny-p16_8xb128-amp-coslr-300e-orig-recipe_lup1m': (5e-4, 1024, 10, 300),
    'mae/mae_vit-tiny-p16_8xb512-amp-coslr-800e-orig-recipe_lup1m': (1.5e-4, 4096, 40, 800),
    'mae/mae-lite_vit-tiny-p16_8xb512-amp-coslr-400e-orig-recipe_lup1m': (
        (1.5e-4, 4096, 40, 400)
    ),
}
REDUCED = ('dino', 'mae', 'mae-dino')
PAGES = (*REDUCED, 'hap', 'solider')


@pytest.mark.parametrize('path', SAIP_RECIPE, ids=lambda path: path.stem)
def test_the_common_recipe_is_that_of_saip(path):
    ours, cfg = Config.fromfile(OURS), Config.fromfile(path)
    cfg.train_dataloader.dataset.pop('keypoints', None)  # HAP's images come with them
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert cfg[key] == ours[key], key


@pytest.mark.parametrize(('name', 'stated'), STATED.items())
def test_a_recipe_of_its_own_is_as_stated(name, stated):
    rate, batch, warm_up, epochs = stated
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate * batch / 256)
    assert cfg.auto_scale_lr.base_batch_size == batch == 8 * cfg.train_dataloader.batch_size
    linear, cosine, *_ = cfg.param_scheduler
    assert (linear.begin, linear.end) == (0, warm_up)
    assert (cosine.begin, cosine.end, cosine.T_max) == (warm_up, epochs, epochs - warm_up)
    assert cfg.train_cfg.max_epochs == epochs


@pytest.mark.parametrize('page', PAGES)
def test_configs_and_documents_state_the_same_figures(page):
    text = (ROOT / f'docs/comparisons/{page}.md').read_text()
    rows = re.findall(r'^\| (ViT-Tiny|StarNet-S3|TinyViT-5M) \| (.+) \|$', text, re.M)
    leaves = [path for path in SAIP_RECIPE if path.stem.split('_')[0] == page]
    assert {ENCODERS[name] for name, _ in rows} == {p.stem.split('_')[1] for p in leaves}
    for name, row in rows:
        cells = row.split(' | ')
        reid, attributes, parsing = (cells[i].replace(',', '').split()[0] for i in (0, 1, 4))
        (leaf,) = (path for path in leaves if path.stem.split('_')[1] == ENCODERS[name])
        assert leaf.read_text().splitlines()[1] == (
            f'# Paper, Tables I and II: Market1501 Rank-1 {reid}, PA100K mA {attributes}, '
            f'LIP mIoU {parsing.split("/")[0]}.'
        )


@pytest.mark.parametrize('method', REDUCED)
def test_reduced_presets_have_the_sizes_of_saip_small(method):
    folder = CONFIGS / '_base_/methods'
    ours, cfg = (Config.fromfile(folder / f'{n}-small.py').model for n in ('saip', method))
    views, theirs = ours.data_preprocessor.pop('views'), cfg.data_preprocessor.pop('views')
    assert cfg.data_preprocessor == ours.data_preprocessor
    for name in ('anchor', 'augmented', 'local_crops'):
        assert name not in theirs or theirs[name] == views[name]
    if cfg.expert is not None:
        assert cfg.expert == ours.expert
        assert cfg.objectives.csm.neck == ours.objectives.csm.neck
        assert cfg.objectives.koleo == ours.objectives.koleo
    if 'mae' in cfg.objectives:
        decoder, own = cfg.objectives.mae.neck, ours.objectives.csr.neck
        assert {**decoder, 'type': own.type} == own
