"""What a resumed run does with the optimizer of its checkpoint, and what it is told."""

import pytest
import torch

from saip.engine import launch

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
COSINE = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=3, T_max=3)
KEEP = {'default_hooks.checkpoint.max_keep_ckpts': -1}
GROUPS = dict(bias_lr_mult=2.0)  # a group for every tensor


def wrapper(kind: str, lr: float = 0.1, decay: float = 0.0, **options) -> dict:
    optimizer = dict(type=kind, lr=lr, weight_decay=decay)
    return dict(type='OptimWrapper', optimizer=optimizer, **options)


def train(toy_config, optim_wrapper, **options) -> None:
    cfg = toy_config(optim_wrapper=optim_wrapper, param_scheduler=[COSINE], **KEEP)
    launch.train(cfg, **options)


@pytest.mark.parametrize(
    ('first', 'second', 'message'),
    [
        (wrapper('SGD'), wrapper('AdamW'), r'settings betas, .*one with momentum, dampening'),
        (wrapper('Adam'), wrapper('AdamW'), r'decoupled decay here, and .*one with betas; '),
        (wrapper('SGD'), wrapper('SGD', paramwise_cfg=GROUPS), '2 groups .* here and 1 in'),
    ],
)
def test_the_state_of_another_optimizer_is_refused(
    toy_config, tmp_path, first, second, message
):
    train(toy_config, first)
    with pytest.raises(launch.StartError, match=rf'{message}.*resume with the configuration'):
        train(toy_config, second, resume=str(tmp_path / 'work/epoch_1.pth'))


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        (dict(lr=0.2), 'a learning rate of 0.2, the run of the checkpoint began with 0.1'),
        (dict(decay=0.5), 'a weight decay of 0.5, the run of the checkpoint began with 0'),
    ],
)
def test_other_rates_are_said_and_those_of_the_checkpoint_used(
    toy_config, tmp_path, capsys, changed, words
):
    train(toy_config, wrapper('SGD'))
    path = str(tmp_path / 'work/epoch_1.pth')
    train(toy_config, wrapper('SGD', **changed), resume=path)
    assert words in ''.join(capsys.readouterr())
    last = torch.load(tmp_path / 'work/epoch_3.pth', weights_only=True)
    (group,) = last['optimizer']['param_groups']
    assert (group['initial_lr'], group['weight_decay']) == (0.1, 0.0)


def test_a_resumed_run_as_it_was_is_not_worth_a_word(toy_config, tmp_path, capsys):
    train(toy_config, wrapper('AdamW', decay=0.1))
    capsys.readouterr()
    path = str(tmp_path / 'work/epoch_1.pth')
    train(toy_config, wrapper('AdamW', decay=0.1), resume=path)
    assert 'of the checkpoint is used' not in ''.join(capsys.readouterr())
