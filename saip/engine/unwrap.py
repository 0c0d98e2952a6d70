"""Access to a model whatever distributes it."""

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> Any:
    """The model inside a distributed wrapper; typed ``Any`` since it may be of any algorithm."""
    return model.module if is_model_wrapper(model) else model
