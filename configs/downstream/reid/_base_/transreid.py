# TransReID's baseline (He et al., 2021) as SOLIDER has it: the image token, a BN-neck, cross-entropy
# over identities and soft-margin triplets, 4 images of every identity in a batch; AdamW and what else
# the paper leaves open as its authors have it. A leaf adds the data set and the number of identities.
_base_ = [
    '../../_base_/schedule_scale.py',
    '../../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../../_base_/encoder_init.py',
    '../../../_base_/default_runtime.py',
]
from saip.downstream.schedule import linear_warmup, scaled

custom_imports = dict(
    imports=['saip.models', 'saip.downstream.reid'], allow_failed_imports=False
)

image_size = (256, 128)
mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # RGB, of the pretraining
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=mean, std=std, to_rgb=True),
    backbone=dict(
        **_base_.backbone,
        img_size=image_size,
        out_type='image_token',
        drop_path_rate=0.1 if _base_.get('equal_blocks', False) else 0.0,
        init_cfg=_base_.encoder_init,
    ),
    head=dict(type='saip.BNNeckHead', in_channels=_base_.embed_dims),
)

# pillow's resizing averages where it shrinks, as torchvision's does in the baseline.
resize = dict(type='Resize', scale=image_size[::-1], backend='pillow', interpolation='bicubic')
pack = dict(type='PackInputs', algorithm_keys=('pid', 'camid', 'is_query'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomCrop', crop_size=image_size, padding=10),
    # The baseline erases normalized images with normal noise; these are in BGR, from 0 to 255.
    dict(
        type='RandomErasing',
        erase_prob=0.5,
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        aspect_range=(0.3, 1 / 0.3),
        mode='rand',
        fill_color=mean[::-1],
        fill_std=std[::-1],
    ),
    pack,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(**{**resize, 'interpolation': 'bilinear'}),
    pack,
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='saip.IdentityBatchSampler', instances=4),
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
    dataset=dict(split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='saip.ReIDMetric')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='saip.IdentityCountHook')]

# The paper states 120 epochs and the lr; the rest is its authors'.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(bias=dict(lr_mult=2.0))),
)
auto_scale_lr = dict(base_batch_size=64)
epochs = scaled(120, _base_.scale, least=2)
interval = scaled(10, _base_.scale)
# The cosine begins with the first epoch and goes on where the warm-up ends, as the baseline's.
param_scheduler = [
    linear_warmup(20, _base_.scale, start_factor=0.01),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.002,
        by_epoch=True,
        T_max=epochs,
        begin=0,
        end=epochs,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=interval)
# The last weights are evaluated: choosing by the test set would be choosing on it.
default_hooks = dict(
    checkpoint=dict(interval=interval, save_best=None),
    bad_files=dict(type='saip.BadFilesHook'),
)
