# bash tools/dist_finetune.sh configs/downstream/text_reid/irra_cuhk-pedes.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): Rank-1 59.2
_base_ = './_base_/irra.py'
from saip.configs import variable

model = dict(head=dict(num_classes=11003))
dataset = dict(type='saip.CUHKPEDES', data_root=variable('SAIP_DATA', 'data') + '/CUHK-PEDES')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
work_dir = 'work_dirs/irra_cuhk-pedes_{{$SAIP_BACKBONE:vit-tiny-p16}}'
