# bash tools/dist_train.sh configs/pretrain/saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup4m.py 8
# Paper, Table V: Market1501 Rank-1 93.9, PA100K mA 80.9, LIP mIoU 52.4.
_base_ = [
    '../_base_/methods/saip.py',
    '../_base_/data/lup4m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
