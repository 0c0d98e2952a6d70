# bash tools/dist_train.sh configs/pretrain/saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_in1k.py 8
# Paper, Table V: Market1501 Rank-1 90.2, PA100K mA 77.8, LIP mIoU 50.1.
_base_ = [
    '../_base_/methods/saip.py',
    '../_base_/data/in1k.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
