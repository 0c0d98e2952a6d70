# SAIP_TOKENIZER=tokenizer.pth bash tools/dist_train.sh configs/pretrain/cae/cae-dvae_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py 8
# CAE's own recipe on persons; no paper has a figure for it.
_base_ = [
    '../_base_/methods/cae-dvae.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-300e_cae.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
