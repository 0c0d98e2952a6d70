# bash tools/dist_train.sh configs/pretrain/saip/saip-official_vit-tiny-p16_8xb64-accum4-amp-coslr-300e_lup1m.py 8
# The release's command: Paper, Table V: Market1501 Rank-1 93.6, PA100K mA 80.7, LIP mIoU 52.3.
_base_ = [
    '../_base_/methods/saip-official.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e_official.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
train_dataloader = dict(batch_size=64)
