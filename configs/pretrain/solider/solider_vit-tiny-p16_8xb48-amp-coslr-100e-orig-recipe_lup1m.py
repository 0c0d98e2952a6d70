# bash tools/dist_train.sh configs/pretrain/solider/solider_vit-tiny-p16_8xb48-amp-coslr-100e-orig-recipe_lup1m.py 8
# SOLIDER's own recipe from scratch; the paper does not say which one its figures have.
_base_ = [
    '../_base_/methods/solider.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-100e_solider.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.encoder_options),
    objectives=dict(csm=dict(head=dict(teacher_temp=0.04))),  # constant in the release
)
train_dataloader = dict(batch_size=48)
