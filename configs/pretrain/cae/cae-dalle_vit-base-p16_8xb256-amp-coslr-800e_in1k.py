# SAIP_TOKENIZER=dalle.pth bash tools/dist_train.sh configs/pretrain/cae/cae-dalle_vit-base-p16_8xb256-amp-coslr-800e_in1k.py 8
# CAE's README: linear 68.9, attentive 75.9, fine-tuning 83.8, ADE20K 49.7, COCO 49.9 box and 43.9 mask.
_base_ = [
    '../_base_/methods/cae-dalle.py',
    '../_base_/data/in1k-224.py',
    '../_base_/schedules/adamw-coslr-800e_cae.py',
    '../../_base_/backbones/vit-base-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
