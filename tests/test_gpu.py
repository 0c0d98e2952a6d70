"""What only a GPU can show; run with ``make test-all`` on a machine that has one."""

import pytest
import torch

from tests.tiny import PRESETS, batch, build, total

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device'),
]


@pytest.mark.parametrize('preset', PRESETS)
def test_a_step_never_waits_for_the_device(preset):
    model = build(preset).cuda()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    pinned = {key: value.pin_memory() for key, value in batch().items()}

    def step() -> None:
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
    on_cpu = model.data_preprocessor(data, training=True)['inputs']
    on_gpu = model.cuda().data_preprocessor(data, training=True)['inputs']
    for name, images in on_cpu.images.items():
        # In units of the normalised pixel: a grey level is about 0.017.
        torch.testing.assert_close(on_gpu.images[name].cpu(), images, atol=0.05, rtol=0)
    assert torch.equal(on_gpu.scene_masks.cpu(), on_cpu.scene_masks)
