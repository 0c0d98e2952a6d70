# bash tools/dist_finetune.sh configs/downstream/text_reid/irra_icfg-pedes.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): Rank-1 46.1
_base_ = './_base_/irra.py'
from saip.configs import variable
from saip.downstream.schedule import scaled

model = dict(head=dict(num_classes=3102))
dataset = dict(type='saip.ICFGPEDES', data_root=variable('SAIP_DATA', 'data') + '/ICFG-PEDES')
train_dataloader = dict(dataset=dataset)
# The set has no validation split: what is watched is the test split, and the last weights count.
val_dataloader = dict(dataset=dict(**dataset, split='test'))
test_dataloader = dict(dataset=dataset)
interval = scaled(10, _base_.scale)
train_cfg = dict(val_interval=interval)
default_hooks = dict(checkpoint=dict(interval=interval, save_best=None))
work_dir = 'work_dirs/irra_icfg-pedes_{{$SAIP_BACKBONE:vit-tiny-p16}}'
