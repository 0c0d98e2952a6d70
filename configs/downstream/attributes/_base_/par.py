# The PAR baseline (Jia et al., Rethinking of Pedestrian Attribute Recognition, 2021) in the settings
# of SOLIDER: a linear classifier on the image token, ratio-weighted cross-entropy, Adam, batch 64.
# A leaf adds the encoder, the data set, the number of attributes and the schedule.
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    head=dict(type='saip.AttributeHead'),
)

image_size = (256, 128)
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
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='saip.AttributeMetric')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()

# The baseline's lr, for encoder and classifier alike; the paper states none.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',  # clips without a wait for the norm
    dtype='float32',
    optimizer=dict(type='Adam', lr=1e-5, weight_decay=0.0),
    clip_grad=dict(max_norm=10),
)
auto_scale_lr = dict(base_batch_size=64)
custom_hooks = [dict(type='saip.PositiveRatioHook')]
