# SAIP_TOKENIZER=dalle.pth bash tools/dist_train.sh configs/pretrain/cae/cae-dalle_vit-base-p16_8xb256-amp-coslr-1600e_in1k.py 8
# CAE's README: linear 70.3, attentive 77.2, fine-tuning 83.9, ADE20K 50.3, COCO 50.3 box and 44.2 mask.
_base_ = [
    '../_base_/methods/cae-dalle.py',
    '../_base_/data/in1k-224.py',
    '../_base_/schedules/adamw-coslr-1600e_cae.py',
    '../../_base_/backbones/vit-base-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
