# bash tools/dist_train.sh configs/pretrain/dino/dino_starnet-s3_8xb256-amp-coslr-300e-saip-recipe_lup1m.py 8
# Paper, Tables I and II: Market1501 Rank-1 89.1, PA100K mA 76.2, LIP mIoU 51.4.
_base_ = [
    '../_base_/methods/dino.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/starnet-s3.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
