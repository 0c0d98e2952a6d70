# bash tools/dist_finetune.sh configs/downstream/attributes/solider-settings_petazs.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): mA 71.4
# The paper's text alone: PAR "as implemented in" SOLIDER, with SOLIDER's optimizer and schedule.
_base_ = './par_petazs.py'
from saip.downstream.schedule import scaled

optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-5, weight_decay=5e-4))
param_scheduler = dict(
    _delete_=True,
    type='MultiStepLR',
    by_epoch=True,
    milestones=[scaled(epoch, _base_.scale) for epoch in (10, 15)],
    gamma=0.1,
)
work_dir = 'work_dirs/solider-settings_petazs_{{$SAIP_BACKBONE:vit-tiny-p16}}'
