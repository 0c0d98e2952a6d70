# bash tools/dist_train.sh configs/pretrain/mae/mae_vit-tiny-p16_8xb512-amp-coslr-800e-orig-recipe_lup1m.py 8
# MAE's own recipe, crops included; the paper does not say which of the two its figures have.
_base_ = [
    '../_base_/methods/mae.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-800e_mae.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.encoder_options),
    data_preprocessor=dict(views=dict(clean=dict(area=(0.2, 1.0)))),
)
train_dataloader = dict(batch_size=512)
