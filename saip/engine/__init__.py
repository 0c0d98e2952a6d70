"""Running: hooks, optimizer wrappers, schedules, checkpoints. Importing this registers them."""

from saip.engine import hooks
from saip.engine.amp import AutocastOptimWrapper
from saip.engine.loops import ResumableEpochLoop
from saip.engine.optim import NoBiasDecayConstructor

__all__ = ['AutocastOptimWrapper', 'NoBiasDecayConstructor', 'ResumableEpochLoop', 'hooks']
