"""Hooks of training runs. Importing this package registers them."""

from saip.engine.hooks.bad_files import BadFilesHook
from saip.engine.hooks.checkpoint import AtomicCheckpointHook
from saip.engine.hooks.collapse import CollapseHook
from saip.engine.hooks.export import ExportBackboneHook
from saip.engine.hooks.preemption import PreemptionHook
from saip.engine.hooks.progress import ProgressHook
from saip.engine.hooks.runtime_info import AsyncRuntimeInfoHook
from saip.engine.hooks.skipped_steps import NonFiniteLossError

__all__ = [
    'AsyncRuntimeInfoHook',
    'AtomicCheckpointHook',
    'BadFilesHook',
    'CollapseHook',
    'ExportBackboneHook',
    'NonFiniteLossError',
    'PreemptionHook',
    'ProgressHook',
]
