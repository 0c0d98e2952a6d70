# SAIP_EXPERT=data/experts/path_vit-base-p16.pth bash tools/dist_train.sh configs/pretrain/saip/saip-star_tinyvit-5m_8xb256-amp-coslr-300e_lup1m.py 8
# Paper, Tables I and II: Market1501 Rank-1 96.0, PA100K mA 83.5, LIP mIoU 57.0 (its matching loss is not given).
_base_ = [
    '../_base_/methods/saip-star.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/tinyvit-5m.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
