# bash tools/dist_finetune.sh configs/downstream/reid/transreid_msmt17.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): Rank-1 75.6
_base_ = './_base_/transreid.py'
from saip.configs import variable

model = dict(head=dict(num_classes=1041))
dataset = dict(type='saip.MSMT17', data_root=variable('SAIP_DATA', 'data') + '/MSMT17')
train_dataloader = dict(batch_size=256, dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
auto_scale_lr = dict(base_batch_size=256)
work_dir = 'work_dirs/transreid_msmt17_{{$SAIP_BACKBONE:vit-tiny-p16}}'
