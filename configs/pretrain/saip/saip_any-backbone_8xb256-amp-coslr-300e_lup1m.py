# SAIP_BACKBONE=resnet18 bash tools/dist_train.sh configs/pretrain/saip/saip_any-backbone_8xb256-amp-coslr-300e_lup1m.py 8
# Any file of configs/_base_/backbones; the paper has figures for three, each in a config of its own.
_base_ = [
    '../_base_/methods/saip.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
work_dir = 'work_dirs/saip_{{$SAIP_BACKBONE:vit-tiny-p16}}_8xb256-amp-coslr-300e_lup1m'
