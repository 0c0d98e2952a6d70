# SAIP_TOKENIZER=own.pth SAIP_FOLDER=crops SAIP_EPOCHS=300 bash tools/dist_train.sh configs/pretrain/cae/cae-dvae_any-backbone_1xb256-amp-coslr_folder.py 1 --auto-scale-lr
# Any plain ViT, with the codes of a tokenizer of configs/tokenizer as targets; no figure exists for your images.
_base_ = [
    '../_base_/methods/cae-dvae.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
optim_wrapper = dict(optimizer=dict(lr=1.875e-4))
work_dir = 'work_dirs/cae-dvae_{{$SAIP_BACKBONE:vit-tiny-p16}}_1xb256-amp-coslr_folder'
