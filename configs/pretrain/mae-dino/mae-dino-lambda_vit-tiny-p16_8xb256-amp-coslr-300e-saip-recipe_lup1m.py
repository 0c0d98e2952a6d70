# bash tools/dist_train.sh configs/pretrain/mae-dino/mae-dino-lambda_vit-tiny-p16_8xb256-amp-coslr-300e-saip-recipe_lup1m.py 8
# (1 - lambda) MAE + lambda DINO with lambda = 0.2; the paper gives no weights.
_base_ = [
    '../_base_/methods/mae-dino-lambda.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
