# bash tools/dist_finetune.sh configs/downstream/detection/crowddet_crowdhuman.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table III): AP 87.1, MR 49.6, on the validation set
_base_ = [
    'mmdet::crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py',
    '../_base_/mmdet_encoder.py',
]
from saip.configs import variable
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(imports=['saip.downstream.detection'], allow_failed_imports=False)

model = dict(
    data_preprocessor=_base_.encoder_pixels,
    backbone=dict(_delete_=True, **_base_.encoder_pyramid),
    neck=dict(in_channels=_base_.pyramid_channels),
    roi_head=dict(
        # mmcv's operator, as everywhere else in the model, not torchvision's.
        bbox_roi_extractor=dict(roi_layer=dict(use_torchvision=False)),
        bbox_head=dict(type='saip.CrowdDetHead'),
    ),
)

data_root = variable('SAIP_DATA', 'data') + '/CrowdHuman'
dataset = dict(type='saip.CrowdHuman', data_root=data_root)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(
    type='saip.CrowdMetric',
    ann_file=f'{data_root}/annotation_val.odgt',
    metric=['AP', 'MR'],
    collect_device='gpu',
)
test_evaluator = dict(
    type='saip.CrowdMetric',
    ann_file=f'{data_root}/annotation_val.odgt',
    metric=['AP', 'MR', 'JI'],
    collect_device='gpu',
)

# The paper: AdamW, 2e-4. The rest is CrowdDet's: 30 epochs, steps after 24 and 27, 800 iterations
# of warm-up, weight decay.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, weight_decay=1e-4),
)
epochs = scaled(30, _base_.scale)
param_scheduler = [
    linear_warmup(800, _base_.scale, start_factor=0.001, by_epoch=False),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=epochs,
        milestones=[scaled(epoch, _base_.scale) for epoch in (24, 27)],
        gamma=0.1,
    ),
]
interval = scaled(3, _base_.scale)
train_cfg = dict(max_epochs=epochs, val_interval=interval)

default_hooks = dict(
    runtime_info=_base_.runtime_info,
    bad_files=_base_.bad_files,
    checkpoint=dict(**_base_.checkpoint, interval=interval, save_best='crowd_human/mAP'),
)
vis_backends = _base_.log_backends
visualizer = dict(vis_backends=vis_backends)
work_dir = 'work_dirs/crowddet_crowdhuman_{{$SAIP_BACKBONE:vit-tiny-p16}}'
