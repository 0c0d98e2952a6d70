"""What only a GPU can show; run with ``make test-all`` on a machine that has one."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from saip.registry import MODELS
from tests.tiny import ARCH, PRESETS, ROOT, batch, build, preset_config, progress, total

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device'),
]
VIT = 'vit'
TRAININGS = [
    *((preset, VIT) for preset in (*PRESETS, 'saip-star')),
    ('saip', 'starnet-s3'),
    ('saip', 'tinyvit-5m'),
]


def training(preset: str, encoder: str, folder: Path):
    """A preset with the small ViT or with the encoder of a fragment, in training mode."""
    cfg = preset_config(preset)
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


@pytest.mark.parametrize(('preset', 'encoder'), TRAININGS)
def test_a_step_never_waits_for_the_device(preset, encoder, tmp_path):
    model = training(preset, encoder, tmp_path).cuda()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    pinned = {key: value.pin_memory() for key, value in batch().items()}

    def step() -> None:
        model.begin_step(progress())
        with torch.autocast('cuda', torch.bfloat16):
            views = model.data_preprocessor(pinned, training=True)
            loss = total(model(**views, mode='loss'))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.update_expert(0.99)

    step()  # kernels are loaded and buffers allocated
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_views_on_the_gpu_equal_those_on_the_cpu():
    model, data = build(), batch()
    model.begin_step(progress())
    on_cpu = model.data_preprocessor(data, training=True)['inputs']
    model.cuda().begin_step(progress())
    on_gpu = model.data_preprocessor(data, training=True)['inputs']
    for name, view in on_cpu.by_name.items():
        # In units of the normalised pixel: a grey level is about 0.017.
        found = on_gpu[name].images.cpu()
        torch.testing.assert_close(found, view.images, atol=0.05, rtol=0)
    masks = on_gpu.targets['scene_masks'].cpu()
    assert torch.equal(masks, on_cpu.targets['scene_masks'])
