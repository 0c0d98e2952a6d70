"""The window of micro-batches whose gradients are accumulated to one optimizer step."""

from __future__ import annotations

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner


def is_window_open(runner: Runner) -> bool:
    """Whether gradients have been accumulated that no optimizer step has used yet."""
    wrapper = runner.optim_wrapper
    parts = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return any(isinstance(part, OptimWrapper) and not part.should_update() for part in parts)
