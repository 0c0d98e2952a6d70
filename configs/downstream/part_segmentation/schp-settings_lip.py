# bash tools/dist_finetune.sh configs/downstream/part_segmentation/schp-settings_lip.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table II): mIoU 52.3, mAcc 63.3, on the validation set
# The settings of SCHP itself, which the paper's text names; its learning rate is for SGD, this is not.
_base_ = './schp_lip.py'
from saip.downstream.schedule import correction_schedule

size = (480, 480)  # whole 32-pixel cells; SCHP has 473 x 473
encoder = dict(**_base_.backbone, img_size=size, init_cfg=_base_.encoder_init)
model = dict(
    data_preprocessor=dict(size=size),
    backbone=dict(_delete_=True, type='saip.FeaturePyramid', encoder=encoder),
    decode_head=dict(
        in_channels=_base_.pyramid_channels,
        detail_channels=48,
        refined_over_classes='mean',
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
train_pipeline = _base_.train_pipeline
train_pipeline[3].size = size
test_pipeline = _base_.test_pipeline
test_pipeline[1].size = size
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = [_base_.val_evaluator]

schedule = correction_schedule(_base_.scale, warmup=10, first=100, length=150, lowest=1 / 100)
ends, param_scheduler = schedule
custom_hooks = [dict(type='saip.SelfCorrectionHook', epochs=ends)]
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=ends[-1])
auto_scale_lr = dict(base_batch_size=16)
work_dir = 'work_dirs/schp-settings_lip_{{$SAIP_BACKBONE:vit-tiny-p16}}'
