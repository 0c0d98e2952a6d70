# SAIP_FOLDER=crops SAIP_EPOCHS=300 bash tools/dist_train.sh configs/pretrain/dino/dino_any-backbone_1xb256-amp-coslr_folder.py 1 --auto-scale-lr
# Any encoder, without drop path, which not every one has; no figure exists for your images.
_base_ = [
    '../_base_/methods/dino.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=_base_.backbone)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
work_dir = 'work_dirs/dino_{{$SAIP_BACKBONE:vit-tiny-p16}}_1xb256-amp-coslr_folder'
