# bash tools/dist_train.sh configs/pretrain/saip/saip-paper_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py 8
# The paper's equations with the expert as CSM's target; the paper gives no separate figure for it.
_base_ = [
    '../_base_/methods/saip-paper.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e_paper.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
