# SAIP_METHOD=saip-small SAIP_FOLDER=crops SAIP_EPOCHS=20 python tools/train.py configs/pretrain/compare/any-method_any-backbone_1xb32-amp-coslr_folder.py
# What tools/compare.py trains: the same images, schedule and optimizer for every method of ../_base_/methods.
_base_ = [
    '../_base_/methods/{{$SAIP_METHOD:saip-small}}.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-4blocks-p16}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(_base_.backbone, **_base_.encoder_options))
at_size = dict(size=_base_.model.data_preprocessor.size)
canvas = dict(canvas=tuple(round(1.25 * side) for side in at_size['size']))
train_dataloader = dict(batch_size=32, dataset=canvas)
val_dataloader = test_dataloader = dict(dataset=at_size if _base_.labeled else canvas)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
work_dir = 'work_dirs/{{$SAIP_METHOD:saip-small}}_{{$SAIP_BACKBONE:vit-4blocks-p16}}_1xb32-amp-coslr_folder'
