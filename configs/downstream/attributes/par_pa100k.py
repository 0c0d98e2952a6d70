# bash tools/dist_finetune.sh configs/downstream/attributes/par_pa100k.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): mA 80.7
_base_ = './_base_/par.py'
from saip.configs import variable

model = dict(head=dict(num_classes=26))
dataset = dict(type='saip.PA100K', data_root=variable('SAIP_DATA', 'data') + '/PA100K')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
work_dir = 'work_dirs/par_pa100k_{{$SAIP_BACKBONE:vit-tiny-p16}}'
