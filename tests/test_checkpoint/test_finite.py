"""What of a checkpoint has to be finite."""

import torch

from saip.checkpoint.finite import CONSTANTS_KEY, broken_tensors

NAN = torch.tensor([0.0, float('nan')])


def test_every_part_that_a_run_computes_with_is_looked_at():
    checkpoint = {
        'state_dict': {
            'backbone.weight': NAN,
            'expert.backbone.weight': NAN,
            'steps': torch.tensor(3),
        },
        'ema_state_dict': {'module.weight': NAN},
        'optimizer': {'main': {'state': {0: {'exp_avg': NAN}}, 'param_groups': [{'lr': 0.1}]}},
        'another': [torch.ones(2), NAN],
        'message_hub': {'log_scalars': {'train/loss': {'history_buffer': NAN}}},
        'meta': {},
    }
    assert broken_tensors(checkpoint) == [
        'state_dict.backbone.weight',
        'state_dict.expert.backbone.weight',
        'ema_state_dict.module.weight',
        'optimizer.main.state.0.exp_avg',
        'another.1',
    ]


def test_constants_may_hold_what_they_like_but_nothing_of_another_name():
    checkpoint = {
        'meta': {CONSTANTS_KEY: ['mask']},
        'state_dict': {'mask': NAN, 'other.mask': NAN},
        'ema_state_dict': {'module.mask': NAN, 'mask': NAN},
        'optimizer': {'mask': NAN},
    }
    assert broken_tensors(checkpoint) == ['state_dict.other.mask', 'optimizer.mask']
