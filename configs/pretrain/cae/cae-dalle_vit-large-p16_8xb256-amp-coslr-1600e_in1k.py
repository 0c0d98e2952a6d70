# SAIP_TOKENIZER=dalle.pth bash tools/dist_train.sh configs/pretrain/cae/cae-dalle_vit-large-p16_8xb256-amp-coslr-1600e_in1k.py 8
# CAE's README: linear 77.8, attentive 81.2, fine-tuning 86.2, ADE20K 54.9, COCO 54.5 box and 47.5 mask.
_base_ = [
    '../_base_/methods/cae-dalle.py',
    '../_base_/data/in1k-224.py',
    '../_base_/schedules/adamw-coslr-1600e_cae.py',
    '../../_base_/backbones/vit-large-p16.py',
    '../../_base_/default_runtime.py',
]
gain = dict(layer_scale=1e-5)
model = dict(
    backbone={**_base_.backbone, **_base_.encoder_options, **gain},
    objectives=dict(cae=dict(regressor=gain, decoder=gain)),
)
