"""The configurations train, resume and are evaluated on tiny people."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.models.backbones import VisionTransformer
from PIL import Image

from saip.checkpoint import load_checkpoint_file, write_checkpoint
from saip.downstream.text_reid import CLIPTextTransformer, TextReID
from saip.engine import launch
from saip.engine.launch import StartError
from saip.errors import InputError
from tests.test_downstream.test_text_reid.people_files import write_cuhk, write_icfg
from tests.test_downstream.test_text_reid.small import CUHK, ICFG, short, small
from tests.tiny import STRIDE_16, settings_of, train

default_bpe = pytest.importorskip('open_clip.tokenizer').default_bpe
pytestmark = pytest.mark.usefixtures('fresh_mmengine')
BACKBONES = ('vit-tiny-p16', 'starnet-s3', 'tinyvit-5m')
PEOPLE = 4


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch):
    """The encoder where a test names no other."""
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')


@pytest.fixture(scope='module')
def people(tmp_path_factory) -> str:
    return str(write_cuhk(tmp_path_factory.mktemp('cuhk')))


@pytest.fixture(scope='module')
def icfg(tmp_path_factory) -> str:
    return str(write_icfg(tmp_path_factory.mktemp('icfg')))


def two_steps_and_an_evaluation(config: str, options: dict, captions: tuple[int, int]) -> None:
    options = options | {
        'train_dataloader.dataset.indices': 8,
        'param_scheduler': [],  # the warm-up's first steps are too small for float32
        'optim_wrapper.optimizer.eps': 1e-8,  # as are those of 1e-3
    }
    runner = Runner.from_cfg(launch.read_config(config, options))
    unused = runner.model.text.token_embedding.weight[-1]  # no caption has such an id
    assert unused.any()
    assert train(runner) == []
    assert runner.iter == 2
    history = runner.message_hub
    for term in ('sdm', 'id', 'mlm'):
        assert math.isfinite(history.get_scalar(f'train/loss_{term}').current())
    names = ('Rank-1', 'Rank-5', 'Rank-10', 'mAP', 'mINP', 'captions')
    scores = {n: history.get_scalar(f'val/text_reid/{n}').current() for n in names}
    tested = {n.removeprefix('text_reid/'): value for n, value in runner.test().items()}
    for found, number in zip((scores, tested), captions, strict=True):
        assert found['captions'] == number
        assert 0 < found['mINP'] <= 100
        assert 0 < found['mAP'] <= 100
        assert 0 <= found['Rank-1'] <= found['Rank-5'] <= found['Rank-10'] <= 100


@pytest.mark.sampled(3)
@pytest.mark.parametrize('backbone', [*BACKBONES, *STRIDE_16])
def test_cuhk_pedes_trains_and_is_evaluated(people, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    two_steps_and_an_evaluation(CUHK, small(tmp_path, people, PEOPLE), (12, 12))


@pytest.mark.parametrize(
    'backbone',
    [BACKBONES[0], *(pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES[1:])],
)
def test_icfg_pedes_trains_and_is_evaluated(icfg, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    two_steps_and_an_evaluation(ICFG, small(tmp_path, icfg, PEOPLE), (9, 9))


@pytest.mark.slow
@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('config', [CUHK, ICFG], ids=['cuhk-pedes', 'icfg-pedes'])
def test_real_size(config, tmp_path, monkeypatch, request, backbone):
    """The head has the identities of the real set, and the text is CLIP's."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    monkeypatch.setenv('SAIP_BPE', default_bpe())
    root = request.getfixturevalue('people' if config == CUHK else 'icfg')
    hooks = launch.read_config(config).custom_hooks[1:]
    options = short(tmp_path, root) | {'custom_hooks': [hook.to_dict() for hook in hooks]}
    two_steps_and_an_evaluation(config, options, (12, 12) if config == CUHK else (9, 9))


@pytest.fixture(scope='module')
def trained(people, tmp_path_factory) -> tuple[Path, dict]:
    """A work dir after an epoch of two steps, and the options of the run."""
    folder = tmp_path_factory.mktemp('trained')
    options = small(folder, people, PEOPLE) | {'train_dataloader.dataset.indices': 8}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
        launch.train(CUHK, options=options)
    return folder, options


def test_a_checkpoint_alone_is_tested(trained, tmp_path, monkeypatch):
    """The tokenizer that was learnt lies in it; captions are drawn."""
    folder, options = trained
    stored = load_checkpoint_file(folder / 'epoch_1.pth')
    merges = stored['meta']['tokenizer']['merges'].split('\n')
    assert 50 < len(merges) <= 700 - 515

    def forbidden(*args):
        raise AssertionError('a tokenizer was learnt anew')

    monkeypatch.setattr('saip.downstream.text_reid.hook.learn_vocabulary', forbidden)
    # The best epoch is chosen by the validation part.
    best = folder / 'best_text_reid_Rank-1_epoch_1.pth'
    found = launch.evaluate(CUHK, str(best), options=options, show_dir=str(tmp_path / 'shown'))
    assert found['text_reid/captions'] == 12
    Image.open(tmp_path / 'shown/ranked_captions.png').verify()
    # One without it cannot be tested.
    stored = torch.load(folder / 'epoch_1.pth', weights_only=False)
    del stored['meta']['tokenizer']
    torch.save(stored, tmp_path / 'other.pth')
    with pytest.raises(StartError, match=r'other\.pth: its meta holds no tokenizer'):
        launch.evaluate(CUHK, str(tmp_path / 'other.pth'), options=options)


def test_a_run_goes_on_with_its_tokenizer(trained, tmp_path, monkeypatch, capfd):
    folder, options = trained
    # A vocabulary that is named by now is not that of the weights.
    monkeypatch.setenv('SAIP_BPE', default_bpe())
    options = options | {'train_cfg.max_epochs': 2, 'work_dir': str(tmp_path)}
    launch.train(CUHK, options=options, resume=str(folder / 'epoch_1.pth'))
    assert "the checkpoint's tokenizer is used: it is not that of" in ''.join(
        capfd.readouterr()
    )
    before, after = (
        load_checkpoint_file(path)['meta']
        for path in (folder / 'epoch_1.pth', tmp_path / 'epoch_2.pth')
    )
    assert after['tokenizer'] == before['tokenizer']
    assert after['epoch'] == 2


CLIP_IDS = {'model.text.vocab_size': 49408, 'model.head.vocab_size': 49408}


def test_it_begins_with_weights_and_vocabulary_of_clip(people, tmp_path, monkeypatch):
    options = small(tmp_path, people, PEOPLE) | CLIP_IDS
    stated = {
        key.removeprefix('model.text.'): value
        for key, value in options.items()
        if 'model.text.' in key
    }
    text = CLIPTextTransformer(**stated)
    tensors = {f'text.{key}': value for key, value in text.state_dict().items()}
    write_checkpoint(tmp_path / 'text.pth', tensors, {'architecture': text.architecture()})
    monkeypatch.setenv('SAIP_TEXT_INIT', str(tmp_path / 'text.pth'))
    # Its ids mean nothing without the vocabulary.
    runner = Runner.from_cfg(launch.read_config(CUHK, options))
    with pytest.raises(
        InputError, match=r"text\.pth, know the ids of CLIP's vocabulary: SAIP_BPE"
    ):
        runner.train()
    monkeypatch.setenv('SAIP_BPE', default_bpe())
    runner = Runner.from_cfg(launch.read_config(CUHK, options | {'experiment_name': 'clip'}))
    runner.model.init_weights()
    for name, value in runner.model.text.state_dict().items():
        assert torch.equal(value, text.state_dict()[name]), name
    runner.call_hook('before_train')
    assert runner.model.tokenizer.size == 49408


def test_too_few_ids_for_a_vocabulary(people, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BPE', default_bpe())
    with pytest.raises(
        StartError, match=r'the tokenizer has 49408 ids, model.text.vocab_size=700'
    ):
        launch.train(CUHK, options=small(tmp_path, people, PEOPLE))


def test_an_untrained_model_is_validated(icfg, tmp_path):
    """What a benchmark compares with."""
    runner = Runner.from_cfg(launch.read_config(ICFG, small(tmp_path, icfg, PEOPLE)))
    assert 0 < runner.val()['text_reid/mAP'] <= 100
    assert runner.model.tokenizer.size <= 700


def test_without_its_hook_the_model_says_what_is_missing(icfg, tmp_path):
    options = small(tmp_path, icfg, PEOPLE) | {'custom_hooks': []}
    with pytest.raises(
        StartError, match=r"no tokenizer: custom_hooks needs dict.type='saip.Token"
    ):
        launch.train(ICFG, options=options)


@pytest.mark.usefixtures('one_process_group')
def test_it_trains_in_a_process_group_and_in_bfloat16(people, tmp_path):
    options = small(tmp_path, people, PEOPLE) | {'train_dataloader.dataset.indices': 8}
    launch.train(CUHK, options=options, launcher='pytorch', amp=True)
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_another_number_of_identities_is_named(people, tmp_path):
    with pytest.raises(StartError, match=r'num_classes=11003, but .* has 4 .*num_classes=4'):
        launch.train(CUHK, options=small(tmp_path, people, 11003))


def test_widths_of_text_and_head_have_to_be_equal(people, tmp_path):
    options = small(tmp_path, people, PEOPLE) | {'model.head.dims': 32}
    with pytest.raises(StartError, match=r'model.head has dims=32 .*, model.text dims=64'):
        launch.train(CUHK, options=options)


def test_the_protocol():
    cfg = launch.read_config(CUHK)
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (60, 128)
    assert cfg.model.backbone.img_size == (384, 128)
    warmup, cosine = cfg.param_scheduler
    assert (warmup.start_factor, warmup.end) == (0.1, 5)
    assert (cosine.begin, cosine.end, cosine.T_max, cosine.eta_min) == (5, 60, 55, 0)
    # Chosen on the validation part, reported on the test part; ICFG-PEDES has none.
    assert (cfg.val_dataloader.dataset.split, cfg.test_dataloader.dataset.split) == (
        'val',
        'test',
    )
    assert cfg.default_hooks.checkpoint.save_best == 'text_reid/Rank-1'
    icfg = launch.read_config(ICFG)
    assert icfg.val_dataloader.dataset.split == icfg.test_dataloader.dataset.split == 'test'
    assert icfg.default_hooks.checkpoint.save_best is None
    assert [c.model.head.num_classes for c in (cfg, icfg)] == [11003, 3102]


@pytest.mark.parametrize('backbone', BACKBONES)
def test_rates_and_decay_of_every_parameter(people, tmp_path, monkeypatch, backbone):
    """IRRA's rules, one after the other: a later one overrides an earlier one."""
    monkeypatch.setenv('SAIP_BACKBONE', backbone)
    runner = Runner.from_cfg(launch.read_config(CUHK, small(tmp_path, people, PEOPLE)))
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults['eps'], optimizer.defaults['betas']) == (1e-3, (0.9, 0.999))
    found = settings_of(optimizer, runner.model)
    kinds = set()
    for name, (rate, decay) in found.items():
        factor, wanted = 1, 4e-5
        if name.startswith('head.mlm.'):
            factor = 5
        if 'bias' in name:
            factor, wanted = 2, 0
        if name.startswith(('head.classifier.', 'head.mlm.head.')):
            factor = 5
        assert (rate, decay) == pytest.approx((factor * 1e-4, wanted)), name
        kinds.add((factor, wanted))
    assert kinds == {(1, 4e-5), (2, 0), (5, 4e-5), (5, 0)}
    assert found.keys() == {n for n, p in runner.model.named_parameters() if p.requires_grad}


def test_image_features_are_projected_tokens_of_the_encoder(people, tmp_path):
    cfg = launch.read_config(CUHK, small(tmp_path, people, PEOPLE))
    model: TextReID = Runner.from_cfg(cfg).model.eval()
    images = torch.randn(2, 3, 64, 32)
    found = model(images)
    assert found.shape == (2, 1 + 4 * 2, 64)
    (raw,) = VisionTransformer.forward(model.backbone, images)  # the stock network's map
    tokens = torch.einsum('bdl,ed->ble', raw.flatten(2), model.projection.weight)
    torch.testing.assert_close(found[:, 1:], tokens, atol=1e-5, rtol=1e-4)
    assert model.projection.bias is None
    width = model.backbone.embed_dims
    assert model.projection.weight.std().item() == pytest.approx(width**-0.5, rel=0.03)


def test_an_encoder_whose_pooling_widens_the_token_has_a_matrix_for_it(people, tmp_path):
    backbone = dict(
        _delete_=True,
        type='saip.TimmEncoder',
        model='mobilenetv4_conv_small',
        img_size=(64, 32),
    )
    options = small(tmp_path, people, PEOPLE) | {'model.backbone': backbone}
    model = Runner.from_cfg(launch.read_config(CUHK, options)).model.eval()
    widths = model.backbone.embed_dims, model.backbone.patch_dims
    assert widths == (1280, 960)
    images = torch.randn(1, 3, 64, 32)
    found, output = model(images), model.backbone.encode(images)
    expected = model.token_projection.weight @ output.image_token[0]
    torch.testing.assert_close(found[0, 0], expected, atol=1e-5, rtol=1e-4)
    expected = output.patch_tokens[0] @ model.projection.weight.T
    torch.testing.assert_close(found[0, 1:], expected, atol=1e-5, rtol=1e-4)
