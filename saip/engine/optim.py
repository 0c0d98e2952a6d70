"""Which parameters an optimizer moves, and how."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from saip.engine.fused import fuse
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NoBiasDecayConstructor:
    """Decays parameters of two dimensions and more; leaves biases, norms and gains alone.

    The rule of MAE and of the method's first release. Frozen parameters are left out. The
    optimizer is the fused one where torch has it, see :mod:`saip.engine.fused`.

    Args:
        optim_wrapper_cfg: ``optimizer`` and what the wrapper takes.
        paramwise_cfg: not supported; must be None.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        if paramwise_cfg is not None:
            raise InputError('optim_wrapper.paramwise_cfg: NoBiasDecayConstructor takes none')
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop('optimizer'))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of a model."""
        trained = [p for p in unwrap(model).parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {'params': [p for p in trained if p.ndim > 1]},
            {'params': [p for p in trained if p.ndim <= 1], 'weight_decay': 0.0},
        ]
        cfg = fuse(self.optimizer_cfg, groups)
        optimizer = OPTIMIZERS.build({**cfg, 'params': groups})
        wrapper = {'type': 'OptimWrapper', **self.wrapper_cfg}
        return OPTIM_WRAPPERS.build(wrapper, default_args={'optimizer': optimizer})
