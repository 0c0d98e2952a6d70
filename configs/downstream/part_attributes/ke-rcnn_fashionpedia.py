# bash tools/dist_finetune.sh configs/downstream/part_attributes/ke-rcnn_fashionpedia.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table III): AP^box 38.0, AP^segm 35.5, on the validation set
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/mmdet_encoder.py',
]
from saip.configs import variable
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(imports=['saip.downstream.part_attributes'], allow_failed_imports=False)

# The authors train plain ViTs with other settings than encoders with stages.
plain = _base_.get('equal_blocks', False)
size, largest, batch_size, rate = (896, 1.25, 1, 1e-4) if plain else (1024, 1.5, 2, 5e-4)

model = dict(
    data_preprocessor=_base_.encoder_pixels,
    backbone=dict(_delete_=True, **_base_.encoder_pyramid),
    neck=dict(in_channels=_base_.pyramid_channels),
    roi_head=dict(
        type='saip.KERoIHead',
        # The 46 categories, and the human who wears them.
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', num_classes=47),
        mask_head=dict(num_classes=47),
        attribute_head=dict(type='saip.KEHead'),
        human_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)

load = dict(type='LoadImageFromFile')
pack = dict(
    type='saip.PackGarments',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
)
train_pipeline = [
    load,
    dict(type='saip.LoadGarments'),
    dict(
        type='RandomResize',
        scale=(size, size),
        ratio_range=(0.5, largest),
        keep_ratio=True,
        resize_type='Resize',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='saip.FilterGarments'),
    pack,
]
test_pipeline = [
    load,
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True),
    # Afterwards, since images show them in the image's own pixels; the metric reads the file.
    dict(type='saip.LoadGarments'),
    pack,
]

data_root = variable('SAIP_DATA', 'data') + '/fashionpedia'
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='saip.Fashionpedia',
        data_root=data_root,
        ann_file='instances_attributes_train2020.json',
        data_prefix=dict(img='train'),
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
        type='saip.Fashionpedia',
        data_root=data_root,
        ann_file='instances_attributes_val2020.json',
        data_prefix=dict(img='test'),  # where the images of the validation lie, too
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='saip.FashionpediaMetric',
    ann_file=f'{data_root}/instances_attributes_val2020.json',
)
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# The paper: 32 epochs. The rest is the authors'.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=rate, weight_decay=0.05)
)
auto_scale_lr = dict(base_batch_size=8 * batch_size)
epochs = scaled(32, _base_.scale)
param_scheduler = [
    linear_warmup(500, _base_.scale, start_factor=0.001, by_epoch=False),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=epochs,
        milestones=[scaled(epoch, _base_.scale) for epoch in (26, 30)],
        gamma=0.1,
    ),
]
interval = scaled(4, _base_.scale)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=interval)

# Counts which attributes each category has, over the training set.
custom_hooks = [dict(type='saip.KnowledgeHook')]
default_hooks = dict(
    runtime_info=_base_.runtime_info,
    bad_files=_base_.bad_files,
    checkpoint=dict(**_base_.checkpoint, interval=interval, save_best='fashionpedia/segm_AP'),
)
vis_backends = _base_.log_backends
visualizer = dict(type='saip.GarmentVisualizer', vis_backends=vis_backends)
work_dir = 'work_dirs/ke-rcnn_fashionpedia_{{$SAIP_BACKBONE:vit-tiny-p16}}'
