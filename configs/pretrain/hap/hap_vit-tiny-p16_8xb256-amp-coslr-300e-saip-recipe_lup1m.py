# SAIP_KEYPOINTS=FILE bash tools/dist_train.sh configs/pretrain/hap/hap_vit-tiny-p16_8xb256-amp-coslr-300e-saip-recipe_lup1m.py 8
# Paper, Tables I and II: Market1501 Rank-1 81.6, PA100K mA 66.3, LIP mIoU 44.4.
_base_ = [
    '../_base_/methods/hap.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
train_dataloader = dict(dataset=dict(keypoints=_base_.keypoints))
