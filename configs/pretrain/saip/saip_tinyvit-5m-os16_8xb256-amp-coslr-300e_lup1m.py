# bash tools/dist_train.sh configs/pretrain/saip/saip_tinyvit-5m-os16_8xb256-amp-coslr-300e_lup1m.py 8
# Paper, Tables I and II: Market1501 Rank-1 94.1, PA100K mA 82.1, LIP mIoU 58.3.
# With stride 16 in the last stage too, as the paper's authors fine-tune; which of the two the paper means is not written.
_base_ = [
    '../_base_/methods/saip.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/tinyvit-5m-os16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
