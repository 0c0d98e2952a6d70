# bash tools/dist_finetune.sh configs/downstream/instance_segmentation/mask-rcnn_coco.py vit-base-p16 BACKBONE.pth 8
# CAE's paper and README: box AP 50.3, mask AP 44.2 with ViT-Base, 54.5 and 47.5 with ViT-Large, both
# pretrained for 1600 epochs. Mask R-CNN in the settings of CAE's code.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/mmdet_encoder.py',
    '../_base_/cae_encoder.py',
]
from saip.configs import variable
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(
    imports=['saip.downstream.instance_segmentation'], allow_failed_imports=False
)

plain = _base_.get('equal_blocks', False)
large = plain and _base_.embed_dims == 1024
rate, layer_decay = (2e-4, 0.85) if large else (3e-4, 0.75)
options = dict(**_base_.cae_options, drop_path_rate=0.2)
encoder = dict(
    **_base_.backbone,
    **(options if plain else {}),
    img_size=(672, 1088),  # of a common image, whose grid a file's positions are resampled to
    init_cfg=_base_.encoder_init,
)

model = dict(
    data_preprocessor=_base_.encoder_pixels,
    backbone=dict(
        _delete_=True,
        type='saip.TapPyramid' if plain else 'saip.FeaturePyramid',
        encoder=encoder,
    ),
    neck=dict(
        in_channels=[_base_.embed_dims] * 4 if plain else _base_.pyramid_channels,
    ),
    roi_head=dict(
        bbox_head=dict(
            type='saip.SyncedBBoxHead',
            norm_cfg=dict(type='BN'),  # the head synchronizes it
            reg_decoded_bbox=True,
            loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=10.0),
        ),
    ),
    # mmdetection 2's, which CAE's code has; mmdetection 3 keeps 1000.
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)),
)

load = dict(type='LoadImageFromFile')
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
pack = dict(
    type='PackDetInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
)
several = dict(
    type='RandomChoiceResize',
    scales=[(short, 1333) for short in range(480, 801, 32)],
    keep_ratio=True,
)
cut = [
    dict(
        type='RandomChoiceResize',
        scales=[(short, 1333) for short in (400, 500, 600)],
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_type='absolute_range',
        crop_size=(384, 600),
        allow_negative_crop=True,
    ),
    several,
]
train_pipeline = [
    load,
    annotations,
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomChoice', transforms=[[several], cut]),
    pack,
]
test_pipeline = [
    load,
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    # Afterwards, since images show them in the image's own pixels; the metric reads the file.
    annotations,
    pack,
]

data_root = variable('SAIP_DATA', 'data') + '/coco'
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='saip.CocoInstances',
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
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
        type='saip.CocoInstances',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmdet.CocoMetric',
    ann_file=f'{data_root}/annotations/instances_val2017.json',
    metric=['bbox', 'segm'],
    collect_device='gpu',
)
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# CAE's code: 32 images on 16 GPUs.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=rate, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='saip.LayerDecayConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=layer_decay if plain else 1.0,
        flat_decay_mult=0.0,
        custom_keys=dict(pos_embed=dict(decay_mult=0.0)),
    ),
)
auto_scale_lr = dict(base_batch_size=32)
epochs = scaled(12, _base_.scale)
param_scheduler = [
    linear_warmup(500, _base_.scale, start_factor=0.001, by_epoch=False),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=epochs,
        milestones=[scaled(epoch, _base_.scale) for epoch in (9, 11)],
        gamma=0.1,
    ),
]
interval = scaled(3, _base_.scale)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=interval)

default_hooks = dict(
    runtime_info=_base_.runtime_info,
    bad_files=_base_.bad_files,
    checkpoint=dict(**_base_.checkpoint, interval=interval, save_best='coco/bbox_mAP'),
)
vis_backends = _base_.log_backends
visualizer = dict(vis_backends=vis_backends)
work_dir = 'work_dirs/mask-rcnn_coco_{{$SAIP_BACKBONE:vit-tiny-p16}}'
