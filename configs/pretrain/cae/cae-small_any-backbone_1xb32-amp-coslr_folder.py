# SAIP_FOLDER=crops python tools/train.py configs/pretrain/cae/cae-small_any-backbone_1xb32-amp-coslr_folder.py
# For two CPU cores; see quickstart/ for SAIP at this size. No figure exists for your images.
_base_ = [
    '../_base_/methods/cae-small.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-4blocks-p16}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(canvas=(160, 80)))
val_dataloader = dict(num_workers=1, dataset=_base_.small_images)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
work_dir = 'work_dirs/cae-small_{{$SAIP_BACKBONE:vit-4blocks-p16}}_1xb32-amp-coslr_folder'
