# bash tools/dist_finetune.sh configs/downstream/attributes/par_petazs.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): mA 71.4
_base_ = './_base_/par.py'
from saip.configs import variable
from saip.downstream.schedule import scaled

model = dict(head=dict(num_classes=35))
dataset = dict(type='saip.PETAZeroShot', data_root=variable('SAIP_DATA', 'data') + '/PETA')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
param_scheduler = dict(
    type='MultiStepLR',
    by_epoch=True,
    milestones=[scaled(epoch, _base_.scale) for epoch in (10, 15)],
    gamma=0.1,
)
work_dir = 'work_dirs/par_petazs_{{$SAIP_BACKBONE:vit-tiny-p16}}'
