"""BatchNorm over several processes, against one process that has the whole batch."""

import os
import subprocess
import sys
from copy import deepcopy

import pytest
import timm
import torch
from torch import nn

from saip.checkpoint import load_checkpoint_file
from saip.models.ops.batch_norm import (
    CPUSyncBatchNorm,
    CPUSyncBatchNormAct,
    synchronize_batch_norm,
)
from saip.synthetic.market import SIZES, write_market1501
from tests.test_pretraining import TERMS, train
from tests.tiny import ROOT

(LEAF,) = (ROOT / 'configs/pretrain/quickstart').glob('saip-small_*_people.py')

TWO_PROCESSES = """
from copy import deepcopy

import timm
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from saip.models.backbones import TimmEncoder
from saip.models.ops.batch_norm import CPUSyncBatchNorm, synchronize_batch_norm
from saip.structures import EncodeRequest, Outputs

# Built before there are two processes, and after.
model, double = 'mobilenetv4_conv_small', torch.float64
torch.manual_seed(0)
alone = TimmEncoder(model, out_type='image_token').to(double)
dist.init_process_group('gloo')
rank = dist.get_rank()
torch.manual_seed(0)
whole = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), timm.layers.BatchNormAct2d(4), nn.Conv2d(4, 2, 1),
    nn.BatchNorm2d(2, affine=False),
)
whole[0].bias.data += 30  # a mean that is large beside the deviation
for parameter in whole[1:3].parameters():
    nn.init.normal_(parameter)
shared = deepcopy(whole)
synchronize_batch_norm(shared)
wrapped = DistributedDataParallel(shared, broadcast_buffers=False)
images, weights = torch.randn(6, 3, 8, 8), torch.randn(6, 2, 6, 6)
mine = slice(0, 2) if rank == 0 else slice(2, 6)  # batches of unequal size

for step in range(2):
    everything = images.clone().requires_grad_()
    part = images[mine].clone().requires_grad_()
    expected, found = whole(everything), wrapped(part)
    torch.testing.assert_close(found, expected[mine], rtol=1e-4, atol=1e-4)
    (expected * weights).sum().backward()
    (found * weights[mine]).sum().backward()
    torch.testing.assert_close(part.grad, everything.grad[mine], rtol=1e-3, atol=1e-4)
for (name, a), b in zip(whole.named_parameters(), shared.parameters()):
    # Distributed training averages the gradients of its processes, here of sums.
    torch.testing.assert_close(2 * b.grad, a.grad, rtol=1e-3, atol=1e-3, msg=name)
for (name, a), b in zip(whole.named_buffers(), shared.buffers()):
    torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4, msg=name)
    other = b.clone()
    dist.broadcast(other, 0)
    assert torch.equal(other, b), name
torch.testing.assert_close(shared.eval()(images), whole.eval()(images), rtol=1e-4, atol=1e-4)

encoder = TimmEncoder(model, out_type='image_token').to(double)
norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
assert norms and all(isinstance(m, CPUSyncBatchNorm) for m in norms)
encoder.load_state_dict(alone.state_dict(), strict=True)
images = torch.randn(4, 3, 96, 64, dtype=double)
keep = torch.stack([torch.randperm(24)[:6] for _ in images])
def encode(net, part):
    plain = EncodeRequest(images[part], Outputs(image_token=True, dense=True))
    masked = EncodeRequest(images[part], Outputs(image_token=True, dense=True), keep[part])
    found = net.encode_requests([plain, masked])
    return [x for f in found for x in (f.final.image_token, f.dense.patch_tokens)]
mine = slice(2 * rank, 2 * rank + 2)
expected, found = encode(alone, slice(None)), encode(encoder, mine)
for a, b in zip(expected, found):
    torch.testing.assert_close(b, a[mine], rtol=1e-8, atol=1e-10)
sum(x.square().sum() for x in expected).backward()
sum(x.square().sum() for x in found).backward()
for (key, a), b in zip(alone.named_parameters(), encoder.parameters()):
    dist.all_reduce(b.grad)
    torch.testing.assert_close(b.grad, a.grad, rtol=1e-6, atol=1e-8, msg=key)
for (key, a), b in zip(alone.named_buffers(), encoder.buffers()):
    torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-10, msg=key)
dist.destroy_process_group()
"""


@pytest.mark.dist
def test_two_processes_normalize_like_one(tmp_path):
    script = tmp_path / 'two.py'
    script.write_text(TWO_PROCESSES)
    port = str(20_000 + (os.getpid() + 1) % 20_000)
    command = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run']
    done = subprocess.run(
        [*command, '--nproc_per_node=2', '--master_port', port, str(script)],
        env=os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_one_process_notices_nothing():
    torch.manual_seed(0)
    network = timm.create_model('mobilenetv4_conv_small', num_classes=0)
    twin = deepcopy(network)
    parameters = [id(p) for p in twin.parameters()]
    synchronize_batch_norm(twin)
    kinds = {type(m) for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert CPUSyncBatchNormAct in kinds
    assert kinds <= {CPUSyncBatchNorm, CPUSyncBatchNormAct}
    assert [id(p) for p in twin.parameters()] == parameters
    assert list(twin.state_dict()) == list(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for mode in (True, False):
        network.train(mode)
        twin.train(mode)
        assert torch.equal(network(images), twin(images))
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.state_dict().values(), twin.state_dict().values(), strict=True)
    )


@pytest.mark.slow
@pytest.mark.dist
def test_pretraining_on_two_processes_equals_one_with_the_same_global_batch(tmp_path):
    people = tmp_path / 'people'
    write_market1501(people, SIZES['tiny'])
    config = tmp_path / 'tiny.py'
    config.write_text(
        f"""_base_ = ['{LEAF}']
encoder = dict(_delete_=True, type='saip.TimmEncoder', model='resnet18')
csm = dict(neck=dict(hidden_channels=32, bottleneck_channels=16, out_channels=64))
decoder = dict(neck=dict(dims=32, num_heads=4))
objectives = dict(csm=csm, csr=decoder, css=decoder, koleo=None)
model = dict(backbone=encoder, objectives=objectives)
train_dataloader = dict(num_workers=0, persistent_workers=False)
optim_wrapper = dict(dtype='float32')
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=1, val_interval=9)
cosine = dict(type='CosineAnnealingLR', T_max=4, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [cosine]
"""
    )
    options = ('--cfg-options', 'train_dataloader.batch_size')
    one = train(config, tmp_path / 'one', people, options[0], f'{options[1]}=8')
    two = train(config, tmp_path / 'two', people, options[0], f'{options[1]}=4', processes=2)
    assert sorted(one) == sorted(two) == [1, 2]
    for iteration in one:
        for term in TERMS:
            expected = one[iteration][term]
            assert two[iteration][term] == pytest.approx(expected, rel=1e-4), (iteration, term)
    states = [
        load_checkpoint_file(tmp_path / name / 'epoch_1.pth')['state_dict']
        for name in ('one', 'two')
    ]
    for key in (key for key in states[0] if 'running_' in key):
        torch.testing.assert_close(states[1][key], states[0][key], rtol=0.01, atol=0.01)
