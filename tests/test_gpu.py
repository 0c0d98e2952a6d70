"""What a GPU alone can show, by ``make test-all`` where there is one; the same steps on a CPU."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from saip.engine.optim import NoBiasDecayConstructor
from saip.models.backbones import hierarchical
from saip.models.backbones.token_pack import TokenPack
from saip.models.ops import joined_attention
from saip.models.ops.attention import attend_within
from saip.models.ops.layer_norm import norm_tokens
from saip.registry import MODELS
from tests.tiny import ARCH, PRESETS, ROOT, batch, build, preset_config, progress, total

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device'),
]
VIT = 'vit'
SMALL = ('cae-small', 'dino-small', 'hap-small', 'mae-small', 'mae-dino-small', 'solider-small')
TRAININGS = [
    *((preset, VIT) for preset in (*PRESETS, 'saip-star', *SMALL)),
    ('saip', 'starnet-s3'),
    ('saip', 'tinyvit-5m'),
    ('solider-small', 'starnet-s3'),
]
READ = ('anchor', 'masked', 'masked_a')
"""Views of which every student reads one."""


def on_gpu(test):
    for mark in GPU:
        test = mark(test)
    return test


@pytest.fixture(autouse=True)
def _no_keypoints(monkeypatch):
    """HAP's small preset takes its standing person."""
    monkeypatch.delenv('SAIP_KEYPOINTS', raising=False)


def method_config(preset: str) -> Config:
    """A preset with the small ViT, and with small decoders where it is not small itself."""
    if preset not in SMALL:
        return preset_config(preset)
    cfg = Config.fromfile(ROOT / f'configs/pretrain/_base_/methods/{preset}.py')
    options = dict(arch=ARCH, feature_level=2, **cfg.encoder_options)
    cfg.model.backbone = dict(type='saip.ViTEncoder', **options)
    return cfg


def training(preset: str, encoder: str, folder: Path):
    """A preset with the small ViT or with the encoder of a fragment, in training mode."""
    cfg = method_config(preset)
    if encoder != VIT:
        fragment = Config.fromfile(ROOT / f'configs/_base_/backbones/{encoder}.py')
        cfg.model.backbone = fragment.backbone | cfg.encoder_options
    if preset == 'saip-star':
        del cfg.model.objectives.csm.neck['out_channels']  # of the prototypes
        cfg.model.expert.encoder.update(arch=ARCH, feature_level=2)
        cfg.model.expert.checkpoint = write_expert(cfg.model.expert.encoder, folder)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def write_expert(cfg: dict, folder: Path) -> str:
    """A file of random weights for a frozen expert."""
    encoder = MODELS.build(cfg)
    encoder.init_weights()
    weights = {f'backbone.{key}': x for key, x in encoder.state_dict().items()}
    path = folder / 'expert.pth'
    torch.save({'state_dict': weights, 'meta': {'architecture': encoder.architecture()}}, path)
    return str(path)


def wrapped(model):
    """The optimizer wrapper of a preset, connected with its model."""
    cfg = dict(
        type='saip.AutocastOptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-3),
        clip_grad=dict(max_norm=3.0),
    )
    wrapper = NoBiasDecayConstructor(cfg)(model)
    wrapper.connect(model)
    return wrapper


def step(model, wrapper, data, number: int, poison: float = 1.0) -> None:
    """One training step as the Runner does it; ``poison`` multiplies a view."""
    model.begin_step(progress(number))
    with wrapper.optim_context(model):
        views = model.data_preprocessor(data, training=True)
        read = next(name for name in READ if name in views['inputs'].by_name)
        views['inputs'][read].images.mul_(poison)
        loss = total(model(**views, mode='loss'))
    wrapper.update_params(loss)


@on_gpu
@pytest.mark.parametrize('poison', [1.0, float('nan')])
@pytest.mark.parametrize(('preset', 'encoder'), TRAININGS)
def test_a_step_never_waits_for_the_device(preset, encoder, poison, tmp_path):
    model = training(preset, encoder, tmp_path).cuda()
    wrapper = wrapped(model)
    assert all(group['fused'] for group in wrapper.optimizer.param_groups)
    pinned = {key: value.pin_memory() for key, value in batch().items()}
    step(model, wrapper, pinned, 0)  # kernels are loaded and buffers allocated
    torch.cuda.set_sync_debug_mode('error')
    try:
        step(model, wrapper, pinned, 1, poison)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert bool(wrapper.pop_skipped()) is (poison != 1.0)


def on_each_device():
    """Every training on both; without a GPU those of small presets by default."""
    for preset, encoder in TRAININGS:
        slow = [] if encoder == VIT and preset in ('saip', *SMALL) else [pytest.mark.slow]
        for device, marks in (('cpu', slow), ('cuda', GPU)):
            yield pytest.param(
                preset, encoder, device, id=f'{preset}-{encoder}-{device}', marks=marks
            )


@pytest.mark.parametrize(('preset', 'encoder', 'device'), on_each_device())
def test_a_poisoned_step_moves_nothing(preset, encoder, device, tmp_path):
    model = training(preset, encoder, tmp_path).to(device)
    wrapper, data = wrapped(model), batch()
    step(model, wrapper, data, 0)
    assert not wrapper.pop_skipped()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    moments = [x.clone() for state in wrapper.optimizer.state.values() for x in state.values()]
    step(model, wrapper, data, 1, float('nan'))
    assert wrapper.pop_skipped()
    after = model.state_dict()
    assert all(x.isfinite().all() for x in after.values())
    if preset != 'saip-official':
        assert [name for name, x in before.items() if not torch.equal(x, after[name])] == []
    now = [x for state in wrapper.optimizer.state.values() for x in state.values()]
    assert all(torch.equal(x, y) for x, y in zip(moments, now, strict=True))
    step(model, wrapper, data, 2)
    name, learnt = next((n, p) for n, p in model.named_parameters() if p.requires_grad)
    assert not torch.equal(before[name], learnt)


@on_gpu
def test_optimizer_states_move_between_devices():
    states = {}
    for device in ('cpu', 'cuda'):
        model = build().to(device)
        wrapper = wrapped(model)
        step(model, wrapper, batch(), 0)
        states[device] = wrapper.state_dict()
    for device, other in (('cpu', 'cuda'), ('cuda', 'cpu')):
        model = build().to(device)
        wrapper = wrapped(model)
        wrapper.load_state_dict(states[other])
        assert all(group['fused'] for group in wrapper.optimizer.param_groups)
        step(model, wrapper, batch(), 1)
        assert not wrapper.pop_skipped()


@on_gpu
def test_attention_of_all_lengths_by_one_call():
    shapes = [(3, 129), (2, 33), (4, 51)]
    pack = TokenPack([torch.zeros(b, t, 192, device='cuda') for b, t in shapes])
    packed = torch.randn(len(pack.rows), 3 * 192, device='cuda').bfloat16().requires_grad_()
    if not joined_attention.can_join(packed, 3):
        pytest.skip('torch or the GPU is too old for it')
    found = joined_attention.attend_joined(packed, pack.starts, 129, 3)
    expected = attend_within(packed, shapes, 3, [None] * len(shapes))
    grad = torch.randn_like(found)
    gradients = (torch.autograd.grad(out, packed, grad)[0] for out in (found, expected))
    for ours, theirs in ((found, expected), tuple(gradients)):
        allowed = 0.05 * float(theirs.detach().float().std())
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.02, atol=allowed)


@on_gpu
def test_norms_of_half_precision_have_right_gradients():
    rows, dims = 8192, 192
    tokens = torch.randn(rows, dims, device='cuda').bfloat16()
    grad = (torch.randn(rows, dims, device='cuda') + 0.3).bfloat16()
    norm = [torch.ones(dims, device='cuda'), torch.zeros(dims, device='cuda')]

    def run(dtype):
        x, gain, bias = (v.to(dtype).clone().requires_grad_() for v in (tokens, *norm))
        with torch.autocast('cuda', torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = norm_tokens(x, (gain, bias), 1e-6)
        assert out.dtype == dtype
        out.backward(grad.to(dtype))
        return out.detach(), x.grad, gain.grad, bias.grad

    for found, expected in zip(run(torch.bfloat16), run(torch.float64), strict=True):
        assert (found.double() - expected).norm() < 5e-3 * expected.norm()


@contextmanager
def one_by_one(network, passes):
    """What torch does by itself."""
    yield lambda number: None


@on_gpu
def test_several_passes_give_the_numbers_of_single_ones(monkeypatch, tmp_path):
    gradients = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(hierarchical, 'several_passes', one_by_one)
        model = training('saip', 'starnet-s3', tmp_path).to('cuda')
        model.begin_step(progress())
        views = model.data_preprocessor(batch(), training=True)
        torch.manual_seed(1)
        with torch.autocast('cuda', torch.bfloat16):
            total(model(**views, mode='loss')).backward()
        gradients.append([p.grad for p in model.backbone.parameters() if p.grad is not None])
    for found, expected in zip(*gradients, strict=True):
        # Kernels that add in any order may differ from run to run.
        assert (found - expected).norm() <= 0.05 * expected.norm() + 1e-6


@on_gpu
def test_views_on_the_gpu_equal_those_on_the_cpu():
    model, data = build(), batch()
    model.begin_step(progress())
    on_cpu = model.data_preprocessor(data, training=True)['inputs']
    model.cuda().begin_step(progress())
    on_gpu = model.data_preprocessor(data, training=True)['inputs']
    for name, view in on_cpu.by_name.items():
        # In units of the normalized pixel: a gray level is about 0.017.
        found = on_gpu[name].images.cpu()
        torch.testing.assert_close(found, view.images, atol=0.05, rtol=0)
    masks = on_gpu.targets['scene_masks'].cpu()
    assert torch.equal(masks, on_cpu.targets['scene_masks'])
