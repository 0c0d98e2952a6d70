# bash tools/dist_finetune.sh configs/downstream/part_segmentation/schp_lip.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table II): mIoU 52.3, mAcc 63.3, on the validation set
_base_ = [
    '../_base_/mmseg_runtime.py',
    '../_base_/schedule_scale.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/encoder_init.py',
]
from saip.configs import variable
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(imports=['saip.downstream.part_segmentation'], allow_failed_imports=False)

size = (480, 480)  # (height, width), whole 32-pixel cells; SCHP 473 x 473

model = dict(
    type='saip.SelfCorrectingSegmentor',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=size,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='saip.FeaturePyramid',
        encoder=dict(**_base_.backbone, img_size=size, init_cfg=_base_.encoder_init),
    ),
    decode_head=dict(
        type='saip.CE2PHead',
        in_channels=_base_.pyramid_channels,
        num_classes=20,
        channels=256,
        pool_channels=512,
        edge_channels=192,
        dropout_ratio=0.1,
        part_weight=1.0,
        edge_weight=1.0,
        consistency_weight=0.1,
    ),
    test_cfg=dict(mode='whole'),
)

meta_keys = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'affine')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saip.LoadPartLabels', num_classes=20),
    dict(
        type='RandomFlip',
        prob=0.5,
        swap_seg_labels=[(14, 15), (16, 17), (18, 19)],  # left and right arms, legs, shoes
    ),
    dict(
        type='saip.PersonAffine',
        size=size,
        scale_std=0.25,
        rotation_std=30.0,
        rotation_prob=0.6,
    ),
    dict(type='mmseg.PackSegInputs', meta_keys=meta_keys),
]
# The labels stay as they are: what is compared with them is brought back to the image's size.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saip.PersonAffine', size=size),
    dict(type='saip.LoadPartLabels', num_classes=20),
    dict(type='mmseg.PackSegInputs', meta_keys=meta_keys),
]

data_root = variable('SAIP_DATA', 'data') + '/LIP'
train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='saip.LIPParts',
        data_root=data_root,
        ann_file='train_id.txt',
        data_prefix=dict(img_path='train_images', seg_map_path='train_segmentations'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='saip.LIPParts',
        data_root=data_root,
        ann_file='val_id.txt',
        data_prefix=dict(img_path='val_images', seg_map_path='val_segmentations'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'], collect_device='gpu')
test_evaluator = val_evaluator

# SCHP: 150 epochs; 10 of warm-up, cosine to epoch 100, where the first cycle ends, then cycles of 10.
warmup = scaled(10, _base_.scale)
ends = [scaled(epoch, _base_.scale, least=0) for epoch in (100, 110, 120, 130, 140, 150)]
if sorted({*ends}) != ends:
    raise ValueError(
        f'SAIP_SCHEDULE={_base_.share}: the cycles of self-correction would end after the epochs '
        f'{ends}, some of them empty; 0.1 is short enough for a trial'
    )
custom_hooks = [dict(type='saip.SelfCorrectionHook', epochs=ends)]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=5e-4)
)
param_scheduler = [
    linear_warmup(10, _base_.scale, start_factor=0.01),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        T_max=ends[0] - warmup,
        begin=warmup,
        end=ends[0],
    ),
    dict(
        type='CosineRestartLR',
        periods=[ends[i + 1] - ends[i] for i in range(5)],
        restart_weights=[0.5] * 5,  # each cycle begins at half of the learning rate
        eta_min_ratio=0.01,
        begin=ends[0],
        end=ends[-1],
    ),
]
interval = scaled(10, _base_.scale)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=ends[-1], val_interval=interval)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=interval))
auto_scale_lr = dict(base_batch_size=16)
work_dir = 'work_dirs/schp_lip_{{$SAIP_BACKBONE:vit-tiny-p16}}'
