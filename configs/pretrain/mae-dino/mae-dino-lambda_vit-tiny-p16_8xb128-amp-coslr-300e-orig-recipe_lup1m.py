# bash tools/dist_train.sh configs/pretrain/mae-dino/mae-dino-lambda_vit-tiny-p16_8xb128-amp-coslr-300e-orig-recipe_lup1m.py 8
# DINO's recipe, since this combination has no release of its own; the paper has one figure for both.
_base_ = [
    '../_base_/methods/mae-dino-lambda.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e_dino.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
train_dataloader = dict(batch_size=128)
