# bash tools/dist_finetune.sh configs/downstream/semantic_segmentation/upernet_ade20k.py vit-base-p16 BACKBONE.pth 8
# CAE's paper and README: mIoU 50.3 with ViT-Base, 54.9 with ViT-Large, both pretrained for 1600 epochs
# UPerNet in the settings of CAE's code, which takes higher rates for ViT-Base after shorter pretrainings:
# upernet-lr3e-4_ade20k.py after 300 epochs, upernet-lr2e-4_ade20k.py after 800.
_base_ = [
    '../_base_/mmseg_runtime.py',
    '../_base_/schedule_scale.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/encoder_init.py',
    '../_base_/cae_encoder.py',
]
from saip.configs import variable
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(
    imports=['saip.downstream.semantic_segmentation'], allow_failed_imports=False
)

size = (512, 512)
plain = _base_.get('equal_blocks', False)
large = plain and _base_.embed_dims == 1024
rate, layer_decay, drop_path = (4e-5, 0.95, 0.15) if large else (1e-4, 0.65, 0.1)
options = dict(**_base_.cae_options, drop_path_rate=drop_path, relative_position=True)
encoder = dict(
    **_base_.backbone,
    **(options if plain else {}),
    img_size=size,
    init_cfg=_base_.encoder_init,
)
channels = [_base_.embed_dims] * 4 if plain else _base_.pyramid_channels
head = dict(
    num_classes=150,
    dropout_ratio=0.1,
    norm_cfg=dict(type='BN'),  # saip.UPerNet synchronizes it
    align_corners=False,
)

model = dict(
    type='saip.UPerNet',
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
        dict(type='saip.TapPyramid', encoder=encoder)
        if plain
        else dict(type='saip.FeaturePyramid', encoder=encoder)
    ),
    decode_head=dict(
        type='mmseg.UPerHead',
        in_channels=channels,
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        # The width of ViT-Base and ViT-Large; 512 is the library's for smaller encoders.
        channels=max(512, _base_.embed_dims),
        loss_decode=dict(type='mmseg.CrossEntropyLoss', loss_weight=1.0),
        **head,
    ),
    auxiliary_head=dict(
        type='mmseg.FCNHead',
        in_channels=channels[2],
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', loss_weight=0.4),
        **head,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=size, stride=(341, 341)),
)

load = dict(type='LoadImageFromFile')
labels = dict(type='saip.LoadSceneLabels')
pack = dict(type='mmseg.PackSegInputs')
train_pipeline = [
    load,
    labels,
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='mmseg.RandomCrop', crop_size=size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmseg.PhotoMetricDistortion'),
    pack,
]
# The labels stay as they are: predictions are brought back to the image's size.
test_pipeline = [
    load,
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    labels,
    pack,
]

data_root = variable('SAIP_DATA', 'data') + '/ADEChallengeData2016'
train_dataloader = dict(
    batch_size=2,  # on each of eight GPUs
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='saip.ADE20K',
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='saip.ADE20K',
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'], collect_device='gpu')
test_evaluator = val_evaluator

# 160,000 steps of 16 of the 20,210 images are 126.7 epochs.
epochs = scaled(127, _base_.scale)
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
param_scheduler = [
    linear_warmup(1500, _base_.scale, start_factor=1e-6, by_epoch=False),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0.0,
        begin=0,
        end=epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
interval = scaled(10, _base_.scale)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=interval)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=interval))
auto_scale_lr = dict(base_batch_size=16)
work_dir = 'work_dirs/upernet_ade20k_{{$SAIP_BACKBONE:vit-tiny-p16}}'
