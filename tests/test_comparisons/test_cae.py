"""CAE's configs: what they say of mask, statistics and schedule, and that every one trains."""

import re

import pytest
import torch
from mmengine.config import Config

from saip.errors import InputError
from saip.models.tokenizers import DALLETokenizer, DiscreteVAE
from saip.registry import MODELS
from saip.views import Clock, HostBatch, Recipe
from tests.processes import in_processes
from tests.test_comparisons.method_runs import CONFIGS, read, train, train_as_one_of_two

MAE = [f'mae/mae_vit-{x}-p16_8xb512-amp-coslr-1600e_in1k.py' for x in ('base', 'large')]
LEAVES = sorted(
    str(path.relative_to(CONFIGS))
    for path in (CONFIGS / 'cae').glob('*.py')
    if '_any-backbone_' not in path.name
)
IMAGENET_LEAVES = [*(leaf for leaf in LEAVES if leaf.endswith('_in1k.py')), *MAE]
TINY = 'cae/cae_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
TOKENIZERS = {
    'saip.DALLETokenizer': (DALLETokenizer, dict(width=4, num_codes=8)),
    'saip.DiscreteVAE': (DiscreteVAE, dict(num_codes=8, code_dims=4, width=8, depth=1)),
}
IMAGENET = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
HALF = [127.5] * 3, [127.5] * 3

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


@pytest.fixture(autouse=True)
def _unformatted(monkeypatch):
    """A Runner formats its configuration five times, which takes longer than the training."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, False))


def draw(cfg, images=6):
    """Masks of both views of a batch, as the recipe draws them."""
    views = cfg.model.data_preprocessor
    recipe = Recipe(tuple(views.size), views.patch_size, views.views)
    keys = torch.arange(images).numpy()
    sizes = torch.tensor([[400, 300]] * images).numpy()
    plan = recipe.draw(recipe.names, HostBatch(keys, sizes), Clock(0, 0, 0))
    return plan.draws


@pytest.mark.parametrize(
    ('leaf', 'hidden', 'patches', 'statistics'),
    [(leaf, *((98, 196, IMAGENET) if '_in1k' in leaf else (64, 128, HALF))) for leaf in LEAVES],
)
def test_exactly_half_is_hidden_and_the_rest_is_the_complement(
    leaf, hidden, patches, statistics
):
    cfg = Config.fromfile(CONFIGS / leaf)
    draws = draw(cfg)
    mask, rest = draws['masked'].values['mask'], draws['complement'].values['mask']
    assert mask['keep'].shape == (6, patches - hidden)
    for shown, covered, other in zip(mask['keep'], mask['scored'], rest['keep'], strict=True):
        assert set(covered) == set(other) == set(range(patches)) - set(shown)
        assert len(set(covered)) == hidden
    assert not (mask['keep'] == mask['keep'][:1]).all()
    preprocessor = cfg.model.data_preprocessor
    assert (list(preprocessor.mean), list(preprocessor.std)) == statistics


@pytest.mark.parametrize('leaf', IMAGENET_LEAVES)
def test_every_training_on_imagenet_cuts_its_crops_from_the_same_images(leaf):
    """Twice as wide as a crop: a crop of a quarter of the area is not enlarged."""
    assert tuple(Config.fromfile(CONFIGS / leaf).train_dataloader.dataset.canvas) == (448, 448)


def test_the_tokenizer_sees_the_same_part_of_the_image_without_a_draw_of_its_own():
    cfg = Config.fromfile(CONFIGS / LEAVES[0])
    assert 'tokenized' in cfg.model.data_preprocessor.views
    draws = draw(cfg)
    crop, small = draws['clean'].crops['crop'], draws['tokenized'].crops['crop']
    assert (crop.box == small.box).all()
    assert (crop.flip == small.flip).all()
    assert (crop.size, small.size) == ((224, 224), (112, 112))


@pytest.mark.parametrize('leaf', LEAVES)
def test_the_schedule_is_the_releases(leaf):
    cfg = Config.fromfile(CONFIGS / leaf)
    epochs = int(re.search(r'-(\d+)e_', leaf)[1])
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1.5e-3, 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.999)
    assert cfg.optim_wrapper.clip_grad == {'max_norm': 3.0}
    linear, cosine = cfg.param_scheduler
    assert linear.end == cosine.begin == {300: 10, 800: 20, 1600: 40}[epochs]
    assert linear.start_factor * optimizer.lr == pytest.approx(1e-6)
    assert (cosine.end, cosine.T_max, cosine.eta_min) == (epochs, epochs - linear.end, 1e-5)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 2048


@pytest.mark.parametrize('leaf', LEAVES)
def test_depths_gains_and_weights_are_the_releases(leaf):
    cfg = Config.fromfile(CONFIGS / leaf)
    gain = 1e-5 if 'vit-large' in leaf else 0.1
    assert cfg.model.backbone.layer_scale == gain
    assert cfg.model.backbone.drop_path_rate == 0.1
    cae = cfg.model.objectives.cae
    assert cae.align_weight == 2.0
    for part in (cae.regressor, cae.decoder):
        assert (part.depth, part.layer_scale, part.drop_path) == (4, gain, 0.1)
    assert cfg.model.expert.momentum == 0.0
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    regressor = model.objectives['cae'].regressor
    heads = {192: 3, 384: 6, 768: 12, 1024: 16}[model.backbone.embed_dims]
    assert regressor.dims == model.backbone.embed_dims
    assert regressor.blocks[0].num_heads == heads
    assert [b.drop_path.drop_prob for b in regressor.blocks] == pytest.approx(
        [0, 0.1 / 3, 0.2 / 3, 0.1]
    )


@pytest.mark.parametrize(
    'leaf',
    [
        leaf
        if '-300e' in leaf
        else pytest.param(leaf, marks=pytest.mark.slow)  # another schedule alone
        for leaf in LEAVES
    ],
)
def test_every_leaf_trains_and_its_expert_is_a_copy(leaf, tmp_path):
    cfg = read(leaf)
    target = cfg.model.objectives.cae.target
    if 'tokenizer' in target:
        kind, options = TOKENIZERS[target.tokenizer.type]
        target.tokenizer.update(options)
        target.checkpoint = str(tmp_path / 'tokenizer.pth')
        torch.save({'state_dict': kind(**options).state_dict()}, target.checkpoint)
    _, seen = train(cfg, tmp_path / 'run', epochs=2)
    assert len(seen.losses) == 4
    assert all(torch.isfinite(torch.tensor(x['loss'])) for x in seen.losses)
    state = seen.rows[-1]
    for name, value in state.items():
        if name.startswith('backbone.'):
            assert torch.equal(value, state[f'expert.{name}']), name
            fixed = name == 'backbone.pos_embed'
            assert torch.equal(value, seen.rows[0][name]) is fixed, name
    assert not [name for name in state if 'tokenizer' in name or 'positions' in name]


@pytest.mark.slow
def test_two_processes_train_alike(tmp_path):
    first, second = in_processes(2, tmp_path, train_as_one_of_two, [TINY], str(tmp_path))
    assert first == second


def test_more_hidden_patches_than_there_are_is_an_error():
    cfg = Config.fromfile(CONFIGS / TINY)
    cfg.model.data_preprocessor.views.masked.mask = dict(type='BlockMask', hidden=130)
    with pytest.raises(InputError, match=r'hidden=130, .* grid \(16, 8\) has 128 patches'):
        MODELS.build(cfg.model)


def test_encoders_that_fill_hidden_patches_in_are_refused():
    cfg = Config.fromfile(CONFIGS / TINY)
    cfg.model.backbone = dict(type='saip.TimmEncoder', model='starnet_s3')
    with pytest.raises(InputError, match=r'ContextAutoencoder\) needs hidden patches left out'):
        MODELS.build(cfg.model)
