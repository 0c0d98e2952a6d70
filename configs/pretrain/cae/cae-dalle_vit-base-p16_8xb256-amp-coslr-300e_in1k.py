# SAIP_TOKENIZER=dalle.pth bash tools/dist_train.sh configs/pretrain/cae/cae-dalle_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
# CAE's README: linear 64.5, attentive 74.0, fine-tuning 83.6, ADE20K 48.1, COCO 48.3 box and 42.7 mask.
_base_ = [
    '../_base_/methods/cae-dalle.py',
    '../_base_/data/in1k-224.py',
    '../_base_/schedules/adamw-coslr-300e_cae.py',
    '../../_base_/backbones/vit-base-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
