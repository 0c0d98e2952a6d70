"""Tokenizers and targets: against mmpretrain's and loops, and what their files may be."""

import math
import sys
import types

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models.selfsup.cae import DALLEEncoder
from torch import nn

from saip.checkpoint import CheckpointError, WeightsError
from saip.engine.converters.dalle import dalle_to_saip
from saip.engine.converters.tokenizer import export_tokenizer
from saip.errors import InputError
from saip.models.targets import HOGTarget, PixelTarget, TokenTarget
from saip.models.targets.base import Pixels
from saip.models.tokenizers import DALLETokenizer, DiscreteVAE
from saip.registry import MODELS
from saip.structures import PatchMask, View, Views
from tests.tiny import ROOT, batch, losses, progress

PIXELS = Pixels(16, torch.full((3, 1, 1), 127.5), torch.full((3, 1, 1), 127.5))
TINY = dict(num_codes=16, code_dims=8, width=16, depth=1)


def stock_encoder() -> DALLEEncoder:
    torch.manual_seed(0)
    stock = DALLEEncoder(n_hid=8, vocab_size=16)
    for parameter in stock.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return stock.eval()


def mask_of(scored, patches):
    scored = torch.as_tensor(scored)
    keep = torch.stack(
        [torch.tensor([i for i in range(patches) if i not in row]) for row in scored.tolist()]
    )
    return PatchMask(keep, torch.cat([keep, scored], 1).argsort(1), scored)


# DALL-E's tokenizer, and the converter of its pickled module.


def pickled(stock, path, monkeypatch, extra=None):
    """The module as the package dall_e pickles it; afterwards that package is gone."""
    modules = {}
    for name in ('dall_e', 'dall_e.encoder', 'dall_e.utils'):
        modules[name] = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, modules[name])

    def named(kind, module):
        made = type(kind, (nn.Module,), {'__module__': module})
        setattr(modules[module], kind, made)
        return made

    encoder, block = named('Encoder', 'dall_e.encoder'), named('EncoderBlock', 'dall_e.encoder')
    conv = named('Conv2d', 'dall_e.utils')

    def rebuilt(module):
        kind = type(module).__name__
        table = {'DALLEEncoder': encoder, 'EncoderBlock': block, 'Conv2d': conv}
        twin = table[kind]() if kind in table else type(module).__new__(type(module))
        if kind not in table:
            nn.Module.__init__(twin)
            twin.__dict__.update(
                {k: v for k, v in module.__dict__.items() if not k.startswith('_')}
            )
        twin.device = torch.device('cpu')
        for name, value in module._parameters.items():
            twin.register_parameter(name, value)
        for name, child in module.named_children():
            twin.add_module(name, rebuilt(child))
        return twin

    whole = rebuilt(stock)
    if extra is not None:
        whole.extra = extra
    torch.save(whole, path)
    for name in modules:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize('as_module', [True, False])
def test_the_published_tokenizer_becomes_plain_weights(as_module, tmp_path, monkeypatch):
    stock = stock_encoder()
    if as_module:
        pickled(stock, tmp_path / 'encoder.pkl', monkeypatch)
    else:
        torch.save({'state_dict': stock.state_dict()}, tmp_path / 'encoder.pkl')
    said = str(dalle_to_saip(tmp_path / 'encoder.pkl', tmp_path / 'dalle.pth'))
    assert "'width': 8, 'num_codes': 16" in said
    target = TokenTarget(
        PIXELS,
        dict(type='saip.DALLETokenizer', width=8, num_codes=16),
        str(tmp_path / 'dalle.pth'),
    )
    target.init_weights()
    gray = torch.rand(2, 3, 32, 16)
    with torch.no_grad():
        expected = stock(0.8 * gray + 0.1)
        found = target.tokenizer().scores(gray)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    codes = target.codes(Views({'tokenized': View(2 * gray - 1)}), 8)
    assert torch.equal(codes, expected.argmax(1).flatten(1))
    assert not target.state_dict()
    assert not list(target.parameters())


class Trap:
    def __reduce__(self):
        return exec, ('raise SystemExit("run")',)


def test_a_pickle_with_code_in_it_is_refused(tmp_path, monkeypatch):
    pickled(stock_encoder(), tmp_path / 'encoder.pkl', monkeypatch, extra=Trap())
    with pytest.raises(CheckpointError, match=r'encoder\.pkl: refused, .* would run .*exec'):
        dalle_to_saip(tmp_path / 'encoder.pkl', tmp_path / 'dalle.pth')
    assert not (tmp_path / 'dalle.pth').exists()


def test_other_files_are_no_tokenizer(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.pkl: no such file; .*cdn\.openai\.com'):
        dalle_to_saip(tmp_path / 'none.pkl', tmp_path / 'dalle.pth')
    torch.save({'layer.weight': torch.zeros(2)}, tmp_path / 'other.pth')
    with pytest.raises(
        CheckpointError, match=r'layer\.weight is no tensor of the encoder\.pkl'
    ):
        dalle_to_saip(tmp_path / 'other.pth', tmp_path / 'dalle.pth')
    torch.save({'epoch': 3}, tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match='holds no tokenizer'):
        dalle_to_saip(tmp_path / 'empty.pth', tmp_path / 'dalle.pth')


def test_a_missing_tokenizer_stops_a_training_before_it_starts(tmp_path):
    tokenizer = dict(type='saip.DiscreteVAE', **TINY)
    target = TokenTarget(PIXELS, tokenizer, str(tmp_path / 'none.pth'))
    with pytest.raises(
        FileNotFoundError, match=r'none\.pth: no such .*dalle_to_saip\.py makes'
    ):
        target.init_weights()
    with pytest.raises(InputError, match='SAIP_TOKENIZER names one'):
        TokenTarget(PIXELS, tokenizer, None)
    wider = DiscreteVAE(**{**TINY, 'num_codes': 17})
    torch.save({'state_dict': wider.state_dict()}, tmp_path / 'other.pth')
    with pytest.raises(
        WeightsError, match=r'codebook\.weight \(17, 8\) instead of \(16, 8\)'
    ) as caught:
        TokenTarget(PIXELS, tokenizer, str(tmp_path / 'other.pth')).init_weights()
    assert str(caught.value).count('dalle_to_saip.py makes') == 1
    meta = {'tokenizer': {'type': 'saip.DALLETokenizer'}}
    torch.save({'state_dict': wider.state_dict(), 'meta': meta}, tmp_path / 'kind.pth')
    with pytest.raises(CheckpointError, match=r'holds a saip\.DALLETokenizer, and saip\.Disc'):
        TokenTarget(PIXELS, tokenizer, str(tmp_path / 'kind.pth')).init_weights()


def test_codes_of_another_grid_are_refused(tmp_path):
    torch.save({'state_dict': DiscreteVAE(**TINY).state_dict()}, tmp_path / 't.pth')
    target = TokenTarget(PIXELS, dict(type='saip.DiscreteVAE', **TINY), str(tmp_path / 't.pth'))
    views = Views({'tokenized': View(torch.zeros(1, 3, 64, 64))})
    with pytest.raises(
        InputError, match=r'8x8 codes of the images tokenized, .* 32 patches; set'
    ):
        target.codes(views, 32)


def test_the_full_size_is_that_of_dalle():
    with torch.device('meta'):
        tokenizer = DALLETokenizer()
    assert sum(p.numel() for p in tokenizer.parameters()) == sum(
        p.numel() for p in DALLEEncoder(device=torch.device('meta')).parameters()
    )


# Targets.


def test_cross_entropy_of_the_hidden_patches_by_hand(tmp_path):
    torch.save({'state_dict': DiscreteVAE(**TINY).state_dict()}, tmp_path / 't.pth')
    target = TokenTarget(PIXELS, dict(type='saip.DiscreteVAE', **TINY), str(tmp_path / 't.pth'))
    views = Views({'tokenized': View(torch.rand(2, 3, 32, 16) * 2 - 1)})
    mask = mask_of([[1, 4, 7], [0, 2, 3]], 8)
    scores = torch.randn(2, 3, 16)
    codes = target.codes(views, 8)
    found = target.loss(scores, views, 'masked', mask)
    total, right = 0.0, 0
    for b in range(2):
        for place, patch in enumerate(mask.scored[b].tolist()):
            row, code = scores[b, place].double(), codes[b, patch]
            total += float(row.exp().sum().log() - row[code])
            right += int(row.argmax() == code)
    assert float(found['loss']) == pytest.approx(total / 6, abs=1e-6)
    assert float(found['accuracy']) == pytest.approx(right / 6)
    hidden = {int(codes[b, i]) for b in range(2) for i in mask.scored[b].tolist()}
    assert int(found['codes']) == len(hidden)


def test_histograms_of_gradients_against_a_loop_over_pixels():
    torch.manual_seed(0)
    images = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    found = HOGTarget(PIXELS).histograms(images)
    assert found.shape == (1, 6, 108)
    _, _, height, width = images.shape
    table = torch.zeros(2, 3, 2, 2, 3, 9, dtype=torch.float64)
    for channel in range(3):
        plane = images[0, channel]
        for y in range(height):
            for x in range(width):
                # Mirrored at the border: the pixel beyond is the one before.
                right = plane[y, x + 1 if x + 1 < width else width - 2]
                left = plane[y, abs(x - 1)]
                below = plane[y + 1 if y + 1 < height else height - 2, x]
                above = plane[abs(y - 1), x]
                dx, dy = float(right - left), float(below - above)
                direction = math.floor(math.atan2(dy, dx) % math.pi / math.pi * 9) % 9
                cell = (y // 16, x // 16, y % 16 // 8, x % 16 // 8, channel, direction)
                table[cell] += math.hypot(dx, dy)
    table = table / table.square().sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(found[0], table.reshape(6, 108), atol=1e-10, rtol=0)


def test_histograms_ignore_brightness_and_contrast():
    target, images = HOGTarget(PIXELS), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(target.histograms(images), target.histograms(3 * images - 2))


@pytest.mark.parametrize('target', [PixelTarget(PIXELS), HOGTarget(PIXELS)])
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_something(target):
    images, mask = torch.randn(2, 3, 32, 32), mask_of([[0, 3], [1, 2]], 4)
    views = Views({'masked': View(images)})
    if isinstance(target, HOGTarget):
        every = target.histograms(images)
        wanted = torch.stack([every[b, mask.scored[b]] for b in range(2)])
    else:
        wanted = target.head.target(images, mask.scored)
    assert wanted.shape[-1] == target.out_channels
    assert float(target.loss(wanted, views, 'masked', mask)['loss']) == 0
    assert float(target.loss(wanted + 2, views, 'masked', mask)['loss']) == pytest.approx(4)


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match=r'target\.cells=3'):
        HOGTarget(PIXELS, cells=3)
    with pytest.raises(InputError, match=r'target\.bins=1'):
        HOGTarget(PIXELS, bins=1)
    with pytest.raises(InputError, match=r'tokenizer\.num_codes=1'):
        DiscreteVAE(num_codes=1)


# The discrete VAE that one trains.


@pytest.mark.parametrize(
    'leaf', ['dvae_8xb256-amp-coslr-20e_lup1m', 'dvae_1xb256-amp-coslr_folder']
)
def test_its_rate_is_for_the_devices_of_its_name(leaf):
    """So that --auto-scale-lr changes nothing on these devices."""
    cfg = Config.fromfile(ROOT / f'configs/tokenizer/{leaf}.py')
    devices, images = leaf.split('_')[1].split('-')[0].split('xb')
    assert cfg.train_dataloader.batch_size == int(images)
    assert cfg.auto_scale_lr.base_batch_size == int(devices) * int(images)


def small_trainer():
    cfg = Config.fromfile(ROOT / 'configs/tokenizer/dvae_1xb256-amp-coslr_folder.py').model
    cfg.tokenizer.update(TINY)
    cfg.data_preprocessor.update(size=(64, 32))
    torch.manual_seed(0)
    return MODELS.build(cfg)


def test_equal_use_of_the_codes_costs_nothing_and_one_code_its_logarithm():
    tokenizer = DiscreteVAE(**TINY)
    last = tokenizer.encoder[-1]
    last.weight.data.zero_(), last.bias.data.zero_()
    images = torch.rand(2, 3, 32, 16)
    equal = tokenizer.losses(images, 1.0, 1.0)['loss_diversity'].detach()
    assert float(equal) == pytest.approx(0, abs=1e-6)
    last.bias.data[3] = 100
    found = tokenizer.losses(images, 1.0, 0.5)
    assert float(found['loss_diversity'].detach()) == pytest.approx(
        0.5 * math.log(16), abs=1e-5
    )
    assert int(found['codes']) == 1
    assert (tokenizer.codes(images) == 3).all()


def test_a_step_of_the_trainer_reaches_all_weights_and_moves_the_temperature():
    trainer = small_trainer()
    terms = losses(trainer, batch(2))
    assert set(terms) == {'loss_reconstruction', 'loss_diversity', 'codes'}
    (terms['loss_reconstruction'] + terms['loss_diversity']).backward()
    assert all(p.grad.abs().sum() > 0 for p in trainer.tokenizer.parameters())
    assert trainer.scheduled() == {'temperature': 1.0}
    trainer.begin_step(progress(50))
    assert trainer.scheduled()['temperature'] == pytest.approx((1 + 1 / 16) / 2)


@pytest.mark.slow
def test_a_short_training_reconstructs_better_and_uses_more_than_half_of_the_codes():
    """On images of one color per cell, 16 colors in all."""
    torch.manual_seed(0)
    tokenizer, steps = DiscreteVAE(**TINY), 400
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=3e-3)
    colors, errors = torch.rand(16, 3), []
    for step in range(steps):
        cells = colors[torch.randint(16, (8, 4, 2))].permute(0, 3, 1, 2)
        images = cells.repeat_interleave(8, 2).repeat_interleave(8, 3)
        terms = tokenizer.losses(images, max(1 / 16, 1 - step / steps), 0.01)
        optimizer.zero_grad()
        (terms['loss_reconstruction'] + terms['loss_diversity']).backward()
        optimizer.step()
        errors.append(float(terms['loss_reconstruction'].detach()))
    assert sum(errors[-10:]) < 0.4 * sum(errors[:10])
    assert int(terms['codes']) > 8


def test_a_view_that_the_recipe_does_not_make_is_refused():
    cfg = Config.fromfile(ROOT / 'configs/tokenizer/dvae_1xb256-amp-coslr_folder.py').model
    cfg.view = 'anchor'
    with pytest.raises(InputError, match=r"model\.view='anchor': .* makes crop"):
        MODELS.build(cfg)


def test_the_tokenizer_of_a_training_is_exported(tmp_path):
    trainer = small_trainer()
    settings = dict(type='saip.DiscreteVAE', **TINY)
    text = f"model = dict(type='saip.TokenizerTrainer', tokenizer={settings!r})\n"
    path = tmp_path / 'epoch_20.pth'
    torch.save({'state_dict': trainer.state_dict(), 'meta': {'cfg': text}}, path)
    said = str(export_tokenizer(path, tmp_path / 'own.pth'))
    assert f'SAIP_TOKENIZER={tmp_path / "own.pth"}' in said
    target = TokenTarget(PIXELS, settings, str(tmp_path / 'own.pth'))
    images = torch.rand(2, 3, 32, 16)
    expected = trainer.tokenizer.codes(images)
    assert torch.equal(target.tokenizer().codes(images), expected)
    torch.save({'state_dict': {}, 'meta': {}}, path)
    with pytest.raises(CheckpointError, match=r'no checkpoint of a tokenizer, .*configs/tok'):
        export_tokenizer(path, tmp_path / 'own.pth')


def test_the_length_of_a_training_on_a_folder_is_the_variables(monkeypatch):
    file = str(ROOT / 'configs/tokenizer/dvae_1xb256-amp-coslr_folder.py')
    for epochs in (None, '3', '1'):
        if epochs:
            monkeypatch.setenv('SAIP_EPOCHS', epochs)
        if epochs == '1':
            with pytest.raises(ValueError, match=r'SAIP_EPOCHS=1: .* at least 2'):
                Config.fromfile(file)
            continue
        cfg = Config.fromfile(file)
        length = int(epochs or 20)
        warm_up, cosine = cfg.param_scheduler
        assert (cfg.train_cfg.max_epochs, cosine.end, cosine.T_max) == (
            length,
            length,
            length - 1,
        )
        assert warm_up.end == cosine.begin == 1
