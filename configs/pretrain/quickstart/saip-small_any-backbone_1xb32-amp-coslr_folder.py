# make quickstart DATA=folder (reports two-view recall on held-back images; see README.md)
_base_ = [
    '../_base_/methods/saip-small.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:patch-resnet}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=_base_.backbone)
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(canvas=(160, 80)))
val_dataloader = dict(num_workers=1, dataset=_base_.small_images)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
default_hooks = dict(logger=dict(interval=10))
