# bash tools/dist_train.sh configs/pretrain/solider/dino_tinyvit-5m_8xb48-amp-coslr-100e-orig-recipe_lup1m.py 8
# DINO as SOLIDER's own second recipe begins with it: SAIP_DINO of solider-from-dino_tinyvit-5m names its last checkpoint.
_base_ = [
    '../_base_/methods/dino.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-100e_solider.py',
    '../../_base_/backbones/tinyvit-5m.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.encoder_options),
    objectives=dict(csm=dict(head=dict(teacher_temp=0.04))),  # constant in the release
)
train_dataloader = dict(batch_size=48)
