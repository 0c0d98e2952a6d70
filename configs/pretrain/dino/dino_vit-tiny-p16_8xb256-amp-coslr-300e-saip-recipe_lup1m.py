# bash tools/dist_train.sh configs/pretrain/dino/dino_vit-tiny-p16_8xb256-amp-coslr-300e-saip-recipe_lup1m.py 8
# Paper, Tables I and II: Market1501 Rank-1 90.5, PA100K mA 77.4, LIP mIoU 48.7.
_base_ = [
    '../_base_/methods/dino.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
