"""Which keys a configuration may have, and what a misspelled one was meant to be."""

from saip.engine.keys.check import RESERVED, allowed_keys, check_keys
from saip.engine.keys.errors import ConfigKeyError, unknown_key
from saip.engine.keys.plain import NAMES_OF_ITS_OWN, runner_keys
from saip.engine.keys.registered import Keys
from saip.engine.keys.spelling import is_slip

__all__ = [
    'NAMES_OF_ITS_OWN',
    'RESERVED',
    'ConfigKeyError',
    'Keys',
    'allowed_keys',
    'check_keys',
    'is_slip',
    'runner_keys',
    'unknown_key',
]
