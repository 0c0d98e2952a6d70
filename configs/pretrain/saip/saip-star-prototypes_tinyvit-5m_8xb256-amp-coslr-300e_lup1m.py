# SAIP_EXPERT=data/experts/path_vit-base-p16.pth bash tools/dist_train.sh configs/pretrain/saip/saip-star-prototypes_tinyvit-5m_8xb256-amp-coslr-300e_lup1m.py 8
# Experimental: a reading of Eq. 1 for SAIP*, of which the paper gives no figure apart from saip-star's.
_base_ = [
    '../_base_/methods/saip-star-prototypes.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/tinyvit-5m.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
