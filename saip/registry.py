"""Registries of SAIP: children of mmengine's roots under the scope ``saip``.

A type written ``saip.X`` in any config resolves from every OpenMMLab scope and imports the
modules named in ``locations`` by itself. The types of a downstream task need its package in the
``custom_imports`` of the configuration, as those in ``configs/downstream`` have it.

This file must import nothing but mmengine's registries: mmengine swallows an ImportError
raised here and then reports a misleading "scope saip exists in model registry".
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='saip',
    locations=['saip.models'],
)
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='saip',
    locations=['saip.datasets'],
)
DATA_SAMPLERS = Registry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    scope='saip',
    locations=['saip.datasets'],
)
TRANSFORMS = Registry(
    'transform', parent=MMENGINE_TRANSFORMS, scope='saip', locations=['saip.datasets']
)
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='saip',
    locations=['saip.engine'],
)
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='saip', locations=['saip.engine'])
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='saip', locations=['saip.engine']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='saip',
    locations=['saip.engine', 'saip.engine.layer_decay'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='saip',
    locations=['saip.evaluation'],
)
VISUALIZERS = Registry('visualizer', parent=MMENGINE_VISUALIZERS, scope='saip')
VIEWS = Registry('view type', scope='saip', locations=['saip.views'])
MASKERS = Registry('masker', scope='saip', locations=['saip.views'])
