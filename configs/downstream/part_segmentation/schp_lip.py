# bash tools/dist_finetune.sh configs/downstream/part_segmentation/schp_lip.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table II): mIoU 52.3, mAcc 63.3, on the validation set
# SCHP as SOLIDER's code and the authors' have it; schp-settings_lip.py has SCHP's own settings.
_base_ = [
    '../_base_/mmseg_runtime.py',
    '../_base_/schedule_scale.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/encoder_init.py',
]
from saip.configs import variable
from saip.downstream.schedule import correction_schedule, scaled

custom_imports = dict(imports=['saip.downstream.part_segmentation'], allow_failed_imports=False)

size = (576, 384)  # (height, width)
pairs = [(14, 15), (16, 17), (18, 19)]  # left and right arms, legs, shoes
encoder = dict(**_base_.backbone, img_size=size, init_cfg=_base_.encoder_init)
# Blocks 4, 8 and 12 of a plain ViT; the four maps of an encoder with stages.
plain = _base_.get('equal_blocks', False)
channels = [_base_.embed_dims] * 4 if plain else _base_.pyramid_channels

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
    backbone=(
        dict(type='saip.BlockPyramid', encoder=encoder)
        if plain
        else dict(
            type='saip.FeaturePyramid', encoder=encoder, strides=(4, 8, 16, _base_.last_stride)
        )
    ),
    decode_head=dict(
        type='saip.CE2PHead',
        in_channels=channels,
        num_classes=20,
        channels=256,
        pool_channels=512,
        edge_channels=192,
        detail_channels=channels[0] if plain else 32,
        dropout_ratio=0.1,
        part_weight=1.0,
        edge_weight=1.0,
        consistency_weight=0.1,
        refined_over_classes='sum',
    ),
    # A test scores the image itself, and the mean over mirror images and five scales beside it.
    test_cfg=dict(mode='whole', scales=(0.5, 0.75, 1.0, 1.25, 1.5), flip_pairs=pairs),
)

meta_keys = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'affine')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saip.LoadPartLabels', num_classes=20),
    dict(type='RandomFlip', prob=0.5, swap_seg_labels=pairs),
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
    batch_size=12,  # on each of eight GPUs
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
val_evaluator = dict(type='saip.PartIoUMetric', iou_metrics=['mIoU'], collect_device='gpu')
test_evaluator = [
    val_evaluator,
    dict(**val_evaluator, prediction='pred_multi_scale', prefix='multi_scale'),
]

# 30 epochs of warm-up, cosine to epoch 120, where the first cycle ends, then cycles of 10.
schedule = correction_schedule(_base_.scale, warmup=30, first=120, length=150, lowest=1 / 500)
ends, param_scheduler = schedule
custom_hooks = [dict(type='saip.SelfCorrectionHook', epochs=ends)]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=7e-4, weight_decay=0.0)
)
interval = scaled(10, _base_.scale)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=ends[-1], val_interval=interval)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=interval))
auto_scale_lr = dict(base_batch_size=96)
work_dir = 'work_dirs/schp_lip_{{$SAIP_BACKBONE:vit-tiny-p16}}'
