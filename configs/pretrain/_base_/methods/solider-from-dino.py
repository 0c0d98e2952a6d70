# The second stage of SOLIDER's release: preset `solider` begun with a training checkpoint of preset
# `dino`, which SAIP_DINO names, and with the release's constant temperature of the targets.
_base_ = './solider.py'
from saip.configs import variable

preset = 'solider-from-dino'
parts_of_dino = (
    'backbone',
    'objectives.csm',
    'expert.backbone',
    'expert.csm_projector',
)
model = dict(
    init_from=dict(
        checkpoint=variable('SAIP_DINO', 'work_dirs/dino/epoch_100.pth'),
        prefixes={part: part for part in parts_of_dino},
        allow_missing=('backbone.controller.', 'expert.backbone.controller.'),
    ),
    objectives=dict(csm=dict(head=dict(teacher_temp=0.04))),
)
