# bash tools/dist_finetune.sh configs/downstream/attributes/par_petazs.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): mA 71.4
_base_ = './_base_/par.py'
from saip.configs import variable

model = dict(head=dict(num_classes=35))
dataset = dict(type='saip.PETAZeroShot', data_root=variable('SAIP_DATA', 'data') + '/PETA')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
work_dir = 'work_dirs/par_petazs_{{$SAIP_BACKBONE:vit-tiny-p16}}'
