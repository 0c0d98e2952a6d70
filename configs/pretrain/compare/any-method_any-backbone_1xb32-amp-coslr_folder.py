# SAIP_METHOD=saip-small SAIP_FOLDER=crops SAIP_EPOCHS=20 python tools/train.py configs/pretrain/compare/any-method_any-backbone_1xb32-amp-coslr_folder.py (what tools/compare.py trains: one schedule and optimizer for every method)
_base_ = [
    '../_base_/methods/{{$SAIP_METHOD:saip-small}}.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-4blocks-p16}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(_base_.backbone, **_base_.encoder_options))
canvas = dict(canvas=tuple(round(1.25 * x) for x in _base_.model.data_preprocessor.size))
train_dataloader = dict(batch_size=32, dataset=dict(canvas, keypoints=_base_.get('keypoints')))
validated = dict(size=_base_.model.data_preprocessor.size) if _base_.labeled else canvas
val_dataloader = test_dataloader = dict(dataset=validated)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
work_dir = 'work_dirs/{{$SAIP_METHOD:saip-small}}_{{$SAIP_BACKBONE:vit-4blocks-p16}}_1xb32-amp-coslr_folder'
