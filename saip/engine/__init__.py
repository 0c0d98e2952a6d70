"""Running: hooks, optimizer wrappers, schedules, checkpoints. Importing this registers them."""

from saip.engine import hooks
from saip.engine.amp import Bf16OptimWrapper
from saip.engine.optim import MatrixDecayConstructor

__all__ = ['Bf16OptimWrapper', 'MatrixDecayConstructor', 'hooks']
