"""Islands of full precision inside mixed-precision training."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager:
    """Switch autocast off; a no-op on the ``meta`` device, which has none."""
    if device.type == 'meta':
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
