# The PAR baseline (Jia et al., Rethinking of Pedestrian Attribute Recognition, 2021) as SOLIDER has it:
# a linear classifier on the image token, ratio-weighted cross-entropy, batch 64; AdamW, its rate and how
# that falls as the paper's authors have it. A leaf adds the data set and the number of attributes.
_base_ = [
    '../../_base_/schedule_scale.py',
    '../../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../../_base_/encoder_init.py',
    '../../../_base_/default_runtime.py',
]
from saip.downstream.schedule import scaled

custom_imports = dict(
    imports=['saip.models', 'saip.downstream.attributes'], allow_failed_imports=False
)

image_size = (256, 128)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        **_base_.backbone,
        img_size=image_size,
        out_type='image_token',
        init_cfg=_base_.encoder_init,
    ),
    head=dict(type='saip.AttributeHead', in_channels=_base_.embed_dims),
)

# pillow's bilinear resizing averages where it shrinks, as torchvision's does in the baseline.
resize = dict(type='Resize', scale=image_size[::-1], backend='pillow', interpolation='bilinear')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='RandomCrop', crop_size=image_size, padding=10),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(split='trainval', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='saip.AttributeMetric')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()

# One rate for encoder and classifier.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',  # clips without a wait for the norm
    dtype='float32',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.0),
    clip_grad=dict(max_norm=10),
)
auto_scale_lr = dict(base_batch_size=64)
custom_hooks = [dict(type='saip.PositiveRatioHook')]
default_hooks = dict(bad_files=dict(type='saip.BadFilesHook'))
epochs = scaled(25, _base_.scale)
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
# On the loss of the test set, as in the baseline.
param_scheduler = dict(
    type='ReduceOnPlateauLR',
    monitor='attributes/loss',
    rule='less',
    factor=0.1,
    patience=scaled(4, _base_.scale),
)
