"""Checkpoint files: reading and writing, what they say of themselves, strict loading.

Importing this package makes mmengine read files of weights without running their code, see
:mod:`saip.checkpoint.mmengine_loaders`.

Nothing here imports the models: encoders are built through ``saip.registry.MODELS``.
"""

from saip.checkpoint.backbone import (
    Which,
    config_snippet,
    encoder_of,
    export_backbone,
    load_any_encoder,
    load_encoder,
)
from saip.checkpoint.config_text import parse_config_text
from saip.checkpoint.io import (
    SAFETENSORS_KEY,
    CheckpointError,
    file_sha256,
    load_checkpoint_file,
    not_finite,
    read_meta,
    tensors_sha256,
    write_checkpoint,
)
from saip.checkpoint.meta import (
    STATISTICS,
    build_stored_encoder,
    describe_encoder,
    describe_training,
    replace_config,
    stored_architecture,
    stored_feature,
)
from saip.checkpoint.mmengine_loaders import refuse_code
from saip.checkpoint.strict import (
    LoadReport,
    WeightsError,
    architecture_differences,
    infer_grid,
    load_pretrained,
)

refuse_code()

__all__ = [
    'SAFETENSORS_KEY',
    'STATISTICS',
    'CheckpointError',
    'LoadReport',
    'WeightsError',
    'Which',
    'architecture_differences',
    'build_stored_encoder',
    'config_snippet',
    'describe_encoder',
    'describe_training',
    'encoder_of',
    'export_backbone',
    'file_sha256',
    'infer_grid',
    'load_any_encoder',
    'load_checkpoint_file',
    'load_encoder',
    'load_pretrained',
    'not_finite',
    'parse_config_text',
    'read_meta',
    'replace_config',
    'stored_architecture',
    'stored_feature',
    'tensors_sha256',
    'write_checkpoint',
]
