# Where a downstream task's encoder begins: SAIP_INIT is a file that tools/export_backbone.py wrote, or
# none for random weights. The file has to fit the encoder of SAIP_BACKBONE, all of it.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

encoder_checkpoint = variable('SAIP_INIT', 'none')
encoder_init = (
    None
    if encoder_checkpoint == 'none'
    else dict(type='Pretrained', checkpoint=encoder_checkpoint, prefix='backbone.')
)
