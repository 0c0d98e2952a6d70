# IRRA (Jiang and Ye, Cross-Modal Implicit Relation Reasoning and Aligning, 2023) with our encoder in place of
# CLIP's image encoder and CLIP ViT-B/16's text transformer: SDM, identities and hidden words, 1:1:1. Learning
# rate and batch are the paper's, what it leaves open its authors'. A leaf adds the data set and the number
# of identities.
_base_ = [
    './text.py',
    '../../_base_/schedule_scale.py',
    '../../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../../_base_/encoder_init.py',
    '../../../_base_/default_runtime.py',
]
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(
    imports=['saip.models', 'saip.downstream.reid', 'saip.downstream.text_reid'],
    allow_failed_imports=False,
)

image_size = (384, 128)
mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # RGB, of the pretraining
model = dict(
    type='saip.TextReID',
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=mean, std=std, to_rgb=True
    ),
    backbone=dict(**_base_.backbone, img_size=image_size, init_cfg=_base_.encoder_init),
    text=dict(type='saip.CLIPTextTransformer', init_cfg=_base_.text_init),
    head=dict(type='saip.IRRAHead'),
)

# pillow's bilinear resizing averages where it shrinks, as torchvision's does in IRRA.
resize = dict(type='Resize', scale=image_size[::-1], backend='pillow', interpolation='bilinear')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomCrop', crop_size=image_size, padding=10),
    dict(
        type='RandomErasing',
        erase_prob=0.5,
        min_area_ratio=0.02,
        max_area_ratio=0.4,
        aspect_range=(0.3, 1 / 0.3),
        mode='const',
        fill_color=mean[::-1],  # images are BGR here
    ),
    dict(type='PackInputs', algorithm_keys=('pid', 'caption')),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='PackInputs', algorithm_keys=('pid', 'captions')),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(split='val', pipeline=test_pipeline),
)
test_dataloader = dict(
    **{**val_dataloader, 'dataset': dict(split='test', pipeline=test_pipeline)}
)
val_evaluator = dict(type='saip.TextReIDMetric')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
custom_hooks = [
    dict(type='saip.IdentityCountHook'),
    dict(type='saip.TokenizerHook', vocabulary=_base_.vocabulary),
]

# The paper states the rate. New parts learn at five times the rate, biases at twice and without decay;
# the longest name that a parameter's contains decides.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    dtype='float32',
    optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999), eps=1e-3, weight_decay=4e-5),
    paramwise_cfg=dict(
        custom_keys={
            'classifier.bias': dict(lr_mult=5.0, decay_mult=0.0),
            'classifier': dict(lr_mult=5.0),
            'mlm.head.dense.bias': dict(lr_mult=5.0, decay_mult=0.0),
            'mlm.head.norm.bias': dict(lr_mult=5.0, decay_mult=0.0),
            'mlm.head.words.bias': dict(lr_mult=5.0, decay_mult=0.0),
            'mlm.head': dict(lr_mult=5.0),
            'bias': dict(lr_mult=2.0, decay_mult=0.0),
            'mlm': dict(lr_mult=5.0),
        }
    ),
)
auto_scale_lr = dict(base_batch_size=128)
epochs = scaled(60, _base_.scale, least=2)
warmup = scaled(5, _base_.scale)
param_scheduler = [
    linear_warmup(5, _base_.scale, start_factor=0.1),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0,
        by_epoch=True,
        T_max=epochs - warmup,
        begin=warmup,
        end=epochs,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
default_hooks = dict(
    checkpoint=dict(interval=scaled(5, _base_.scale), save_best='text_reid/Rank-1'),
    bad_files=dict(type='saip.BadFilesHook'),
)
