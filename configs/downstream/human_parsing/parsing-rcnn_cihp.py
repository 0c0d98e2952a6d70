# bash tools/dist_finetune.sh configs/downstream/human_parsing/parsing-rcnn_cihp.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table III): mIoU 48.2, AP^p 46.9, on the validation set
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/mmdet_encoder.py',
]
from saip.configs import variable
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(imports=['saip.downstream.human_parsing'], allow_failed_imports=False)

model = dict(
    data_preprocessor=_base_.encoder_pixels,
    backbone=dict(_delete_=True, **_base_.encoder_pyramid),
    neck=dict(in_channels=_base_.pyramid_channels),
    roi_head=dict(
        type='saip.ParsingRoIHead',
        bbox_head=dict(num_classes=1),
        # Parts are read from the finest level, whatever the size of a box.
        mask_roi_extractor=dict(
            roi_layer=dict(output_size=32, sampling_ratio=2), featmap_strides=[4]
        ),
        mask_head=dict(_delete_=True, type='saip.GCEHead'),
    ),
)

load = dict(type='LoadImageFromFile')
pack = dict(
    type='PackDetInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
)
train_pipeline = [
    load,
    dict(type='saip.LoadParsing'),
    dict(
        type='RandomChoiceResize',
        scales=[(1400, short) for short in (512, 640, 704, 768, 800, 864)],
        keep_ratio=True,
    ),
    dict(type='saip.ParsingFlip', prob=0.5),
    pack,
]
test_pipeline = [
    load,
    dict(type='Resize', scale=(1400, 800), keep_ratio=True),
    # Afterwards, since the metric compares in the image's own pixels.
    dict(type='saip.LoadParsing', with_seg=True),
    pack,
]

data_root = variable('SAIP_DATA', 'data') + '/CIHP'
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='saip.CIHP',
        data_root=data_root,
        ann_file='annotations/CIHP_train.json',
        data_prefix=dict(img='train_img', parsing='train_parsing', seg='train_seg'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='saip.CIHP',
        data_root=data_root,
        ann_file='annotations/CIHP_val.json',
        data_prefix=dict(img='val_img', parsing='val_parsing', seg='val_seg'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='saip.ParsingMetric')
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# The paper: 25 epochs. The rest is that of the code in which the authors say that they train.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4),
    # The pyramid's own layers are new, as the heads are.
    paramwise_cfg=dict(custom_keys={'backbone.encoder': dict(lr_mult=0.1)}),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
auto_scale_lr = dict(base_batch_size=16)
epochs = scaled(25, _base_.scale)
param_scheduler = [
    linear_warmup(500, _base_.scale, start_factor=0.01, by_epoch=False),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=epochs,
        milestones=[scaled(20, _base_.scale)],
        gamma=0.1,
    ),
]
interval = scaled(5, _base_.scale)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=interval)

default_hooks = dict(
    runtime_info=_base_.runtime_info,
    bad_files=_base_.bad_files,
    checkpoint=dict(**_base_.checkpoint, interval=interval, save_best='parsing/mIoU'),
)
vis_backends = _base_.log_backends
visualizer = dict(type='saip.ParsingVisualizer', vis_backends=vis_backends)
work_dir = 'work_dirs/parsing-rcnn_cihp_{{$SAIP_BACKBONE:vit-tiny-p16}}'
