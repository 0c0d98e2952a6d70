"""HAP's objectives: what they read, their losses, who cannot have them."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import nn

from saip.analysis.flops import flop_counter
from saip.engine.launch import read_config
from saip.errors import InputError
from saip.registry import MODELS
from saip.views.body_parts import place_template
from tests.tiny import ARCH, ROOT, batch, losses, progress, total

FRAGMENTS = sorted((ROOT / 'configs/_base_/backbones').glob('*.py'))
MASK = {'type': 'PartMask', 'min_patches': 4, 'on_missing': 'template'}
VIEWS = {
    'clean': {'type': 'Crop', 'augment': {'flip': 0.5}},
    'masked_a': {'type': 'Masked', 'of': 'clean', 'mask': MASK},
    'masked_b': {'type': 'Masked', 'of': 'clean', 'mask': MASK},
}


@MODELS.register_module(force=True)
class MeanDecoder(BaseModule):
    """Predicts every hidden patch from its position and the visible tokens' mean."""

    def __init__(self, in_channels, grid, patch_size):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(grid[0] * grid[1], in_channels))
        self.predict = nn.Linear(in_channels, 3 * patch_size**2)
        self.calls = []

    def forward(self, masked, mask, scored):
        self.calls.append((masked.grid, mask.keep.shape, scored))
        tokens = masked.require_patch_tokens()
        assert tokens.shape[:2] == mask.keep.shape
        return self.predict(self.positions[scored] + tokens.mean(1, keepdim=True))


def objectives(**contrast):
    return {
        'reconstruction': {
            'type': 'saip.MaskedReconstruction',
            'views': ('masked_a', 'masked_b'),
            'neck': {'type': 'saip.MeanDecoder'},
            'head': {'type': 'saip.PixelReconstructionHead'},
        },
        'contrast': {
            'type': 'saip.ImageTokenContrast',
            'head': {'type': 'saip.SymmetricContrastiveHead'},
            'loss_weight': 0.05,
            **contrast,
        },
    }


def build(backbone=None, without=(), size=(128, 64), **contrast):
    cfg = dict(
        type='saip.Pretrainer',
        backbone=backbone or dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2),
        data_preprocessor=dict(
            type='saip.ViewsPreprocessor', size=size, patch_size=16, views=VIEWS
        ),
        objectives={k: v for k, v in objectives(**contrast).items() if k not in without},
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def views_of(model, data, step=0):
    model.begin_step(progress(step))
    return model.data_preprocessor(data, training=True)['inputs']


def contrast_restated(one, other, temperature=0.2):
    """Both directions, row by row, in double precision: 2 t (NCE + NCE)."""
    total = 0.0
    for queries, keys in ((one, other), (other, one)):
        queries, keys = (x.detach().double().numpy() for x in (queries, keys))
        for i, query in enumerate(queries):
            lengths = np.linalg.norm(keys, axis=1) * np.linalg.norm(query)
            scores = np.exp(keys @ query / lengths / temperature)
            total -= np.log(scores[i] / scores.sum()) / len(queries)
    return float(2 * temperature * total)


@pytest.mark.parametrize(
    ('images', 'size', 'dims', 'heads'),
    [
        (6, (128, 64), 48, 3),
        (1, (128, 64), 48, 3),
        (2, (64, 32), 32, 2),
        (3, (96, 80), 16, 1),
        (9, (64, 96), 64, 4),
    ],
)
def test_losses_from_each_view_encoded_by_itself(images, size, dims, heads):
    arch = {**ARCH, 'embed_dims': dims, 'num_heads': heads}
    backbone = dict(type='saip.ViTEncoder', arch=arch, img_size=size, feature_level=2)
    model = build(backbone, size=size)
    with torch.no_grad():  # image tokens of random weights are almost equal
        for parameter in model.backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    views = views_of(model, batch(images))
    assert views['masked_a'].images is views['masked_b'].images
    assert views['masked_a'].images.shape == (images, 3, *size)
    found = model(views, {}, mode='loss')
    hidden = size[0] * size[1] // 512  # half of the patches
    errors, tokens = [], []
    for name in ('masked_a', 'masked_b'):
        view = views[name]
        output = model.backbone.encode(view.images, view.mask.keep)
        tokens.append(output.require_image_token())
        decoder = model.objectives['reconstruction'].neck
        predicted = decoder(output, view.mask, view.mask.scored)
        assert view.mask.scored.shape == (images, hidden)
        patches = nn.functional.unfold(view.images, 16, stride=16)  # (B, 3 * 256, L)
        for b in range(images):
            for place, index in enumerate(view.mask.scored[b].tolist()):
                pixels = patches[b, :, index].reshape(3, 256).T.reshape(-1)  # channels last
                wanted = (pixels - pixels.mean()) / (pixels.var() + 1e-6).sqrt()
                errors.append((predicted[b, place] - wanted).square().mean())
    assert len(errors) == 2 * images * hidden
    reconstruction = torch.stack(errors).mean().item()
    assert found['loss_reconstruction'].item() == pytest.approx(reconstruction, rel=1e-5)
    contrast = contrast_restated(*tokens)
    assert (contrast > 1e-3) is (images > 1)
    assert found['loss_contrast'].item() == pytest.approx(0.05 * contrast, rel=1e-4, abs=1e-8)


def test_one_decoder_sees_two_masks_of_each_image():
    model = build()
    assert (
        sum('neck' in name and 'predict.weight' in name for name, _ in model.named_parameters())
        == 1
    )
    losses(model, batch(4))
    calls = model.objectives['reconstruction'].neck.calls
    assert [(grid, kept) for grid, kept, _ in calls] == [((8, 4), (4, 16))] * 2
    assert not torch.equal(calls[0][2], calls[1][2])


def test_both_views_are_one_pass_of_the_encoder(monkeypatch):
    model = build()
    seen = []
    encode = model.backbone.encode_requests
    monkeypatch.setattr(
        model.backbone, 'encode_requests', lambda r: seen.append(len(r)) or encode(r)
    )
    losses(model, batch(4))
    assert seen == [1]


def test_every_parameter_learns_and_a_step_lowers_the_loss():
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = batch(4)
    data['keypoints'] = torch.from_numpy(place_template(data['size'].numpy())).float()
    first = None
    for _ in range(12):
        terms = losses(model, data)
        first = first or total(terms).item()
        optimizer.zero_grad()
        total(terms).backward()
        idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not idle
        optimizer.step()
    assert total(terms).item() < first


@pytest.mark.parametrize('without', ['contrast', 'reconstruction'])
def test_each_term_alone(without):
    model = build(without=(without,))
    terms = losses(model, batch(4))
    total(terms).backward()
    assert [n for n in terms if n.startswith('loss')] == [
        'loss_' + ({'contrast', 'reconstruction'} - {without}).pop()
    ]
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_keypoints_of_the_sample_reach_the_masks():
    """Another pose, other masks; the pixels stay."""
    data = batch(4)
    standing = torch.from_numpy(place_template(data['size'].numpy())).float()
    upside = standing.clone()
    upside[..., 1] = data['size'][:, None, 0] - upside[..., 1]
    first, same, other = (
        views_of(build(), {**data, **changed})
        for changed in ({}, {'keypoints': standing}, {'keypoints': upside})
    )
    assert torch.equal(first['masked_a'].images, other['masked_a'].images)
    assert torch.equal(first['masked_a'].mask.keep, same['masked_a'].mask.keep)
    assert not torch.equal(first['masked_a'].mask.keep, other['masked_a'].mask.keep)


@pytest.mark.parametrize('fragment', ['starnet-s3', 'resnet18'])
def test_encoders_that_run_over_the_whole_map_are_refused(fragment):
    backbone = Config.fromfile(ROOT / f'configs/_base_/backbones/{fragment}.py').backbone
    with pytest.raises(InputError, match=r'left out of the encoder, but TimmEncoder.*vit-tiny'):
        build(backbone)


@pytest.mark.parametrize('fragment', FRAGMENTS, ids=lambda path: path.stem)
def test_dropped_tokens_cost_nothing(fragment):
    """Of an encoder that leaves hidden patches out, a quarter of the patches is far cheaper."""
    try:
        with torch.device('meta'):
            encoder = MODELS.build(
                {**Config.fromfile(fragment).backbone, 'img_size': (256, 128)}
            )
    except ImportError as error:
        pytest.skip(str(error))
    images = torch.zeros(1, 3, 256, 128, device='meta')
    stride = encoder.patch_stride
    keep = torch.arange(256 * 128 // stride**2 // 4, device='meta')[None]
    spent = []
    for kept in (None, keep):
        with flop_counter() as counter, torch.no_grad():
            encoder.eval().encode(images, kept)
        spent.append(counter.get_total_flops())
    assert (spent[1] < 0.5 * spent[0]) is encoder.drops_tokens


@pytest.mark.parametrize('names', [('masked_a',), ('masked_a', 'masked_a')])
def test_a_contrast_is_between_two_views(names):
    with pytest.raises(InputError, match='between two views, not masked_a'):
        build(views=names)


HAP = ROOT / 'configs/pretrain/hap'
LEAVES = sorted(HAP.glob('hap_*.py'))


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ('asked', 'file', 'on_missing'),
    [(None, None, 'error'), ('none', None, 'template'), ('my/k.npz', 'my/k.npz', 'error')],
)
def test_leaves_ask_for_keypoints(leaf, asked, file, on_missing, monkeypatch):
    monkeypatch.delenv('SAIP_KEYPOINTS', raising=False)
    if asked is not None:
        monkeypatch.setenv('SAIP_KEYPOINTS', asked)
    cfg = read_config(str(leaf))
    assert cfg.train_dataloader.dataset.keypoints == file
    assert 'keypoints' not in cfg.val_dataloader.dataset
    views = cfg.model.data_preprocessor.views
    assert views.masked_a == views.masked_b
    assert views.masked_a.mask.on_missing == on_missing
    assert (views.masked_a.mask.ratio, views.masked_a.mask.parts) == (0.5, 'paper')


@pytest.mark.parametrize(('asked', 'on_missing'), [(None, 'template'), ('k.npz', 'error')])
def test_the_small_method_takes_the_template_without_a_file(asked, on_missing, monkeypatch):
    monkeypatch.delenv('SAIP_KEYPOINTS', raising=False)
    if asked is not None:
        monkeypatch.setenv('SAIP_KEYPOINTS', asked)
    cfg = Config.fromfile(ROOT / 'configs/pretrain/_base_/methods/hap-small.py')
    assert cfg.keypoints == asked
    assert cfg.model.data_preprocessor.views.masked_b.mask.on_missing == on_missing


def test_recipes():
    """The common one, and HAP's own: 1.5e-4 per 256 images at 4096, 40 of 400 epochs warm-up."""
    common = Config.fromfile(
        HAP / 'hap_vit-tiny-p16_8xb256-amp-coslr-300e-saip-recipe_lup1m.py'
    )
    own = Config.fromfile(HAP / 'hap_vit-tiny-p16_8xb512-amp-coslr-400e-orig-recipe_lup1m.py')
    for cfg, batch_size, rate, warm_up, epochs in (
        (common, 2048, 2.5e-4, 10, 300),
        (own, 4096, 1.5e-4, 40, 400),
    ):
        assert 8 * cfg.train_dataloader.batch_size == batch_size
        assert cfg.auto_scale_lr.base_batch_size == batch_size
        optimizer = cfg.optim_wrapper.optimizer
        assert optimizer.lr == pytest.approx(rate * batch_size / 256)
        assert (tuple(optimizer.betas), optimizer.weight_decay) == ((0.9, 0.95), 0.05)
        rise, fall = cfg.param_scheduler
        assert (rise.begin, rise.end, fall.begin, fall.end) == (0, warm_up, warm_up, epochs)
        assert (fall.T_max, cfg.train_cfg.max_epochs) == (epochs - warm_up, epochs)
        contrast = cfg.model.objectives.contrast
        assert (contrast.loss_weight, contrast.head.temperature) == (0.05, 0.2)
    assert own.optim_wrapper.get('clip_grad') is None
