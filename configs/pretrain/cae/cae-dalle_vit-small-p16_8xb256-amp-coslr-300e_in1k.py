# SAIP_TOKENIZER=dalle.pth bash tools/dist_train.sh configs/pretrain/cae/cae-dalle_vit-small-p16_8xb256-amp-coslr-300e_in1k.py 8
# As CAE-base; the release names the model, and its README has no figure of it.
_base_ = [
    '../_base_/methods/cae-dalle.py',
    '../_base_/data/in1k-224.py',
    '../_base_/schedules/adamw-coslr-300e_cae.py',
    '../../_base_/backbones/vit-small-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
