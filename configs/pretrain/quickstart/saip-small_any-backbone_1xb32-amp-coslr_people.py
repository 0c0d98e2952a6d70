# make quickstart
# Expected on two CPU cores in about 5 minutes: twice the untrained network's mAP.
_base_ = [
    '../_base_/methods/saip-small.py',
    '../_base_/data/people.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:patch-resnet}}.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=_base_.backbone)
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(canvas=(160, 80)))
val_dataloader = dict(dataset=dict(size=(128, 64)), num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
default_hooks = dict(logger=dict(interval=10))
