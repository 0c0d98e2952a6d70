# SAIP_LAYER_SCALE=0.1 bash tools/dist_finetune.sh configs/downstream/classification/finetune_imagenet.py vit-base-p16 BACKBONE.pth 8
# CAE in its README, 1600 epochs: top-1 83.9 with ViT-Base, 86.2 with ViT-Large; its paper has MAE 83.6 and 86.0
# CAE's fine-tuning, which is BEiT's, with its settings for large and for smaller plain encoders. Those
# with stages have one rate for all layers and no stochastic depth.
_base_ = [
    '../_base_/schedule_scale.py',
    '../_base_/cae_encoder.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/encoder_init.py',
    '../../_base_/default_runtime.py',
]
from saip.configs import variable
from saip.downstream.schedule import scaled

custom_imports = dict(
    imports=['saip.models', 'saip.downstream.classification'], allow_failed_imports=False
)

plain = _base_.get('equal_blocks', False)
large = plain and _base_.embed_dims >= 1024
if plain:
    encoder_options = dict(
        out_type='avg_featmap', relative_position=True, drop_path_rate=0.2 if large else 0.1
    )
else:
    encoder_options = dict(out_type='image_token')
image_size = (224, 224)
num_classes = 1000
mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # RGB, of the pretraining
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor', num_classes=num_classes, mean=mean, std=std, to_rgb=True
    ),
    backbone=dict(
        **_base_.backbone,
        **_base_.cae_options,
        **encoder_options,
        img_size=image_size,
        init_cfg=_base_.encoder_init,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=num_classes,
        in_channels=_base_.embed_dims,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=2e-5),  # 0.02, then times 0.001
    ),
    # One of the two for each batch, evenly.
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)

read = dict(type='LoadImageFromFile')
bicubic = dict(backend='pillow', interpolation='bicubic')
train_pipeline = [
    read,
    dict(type='RandomResizedCrop', scale=image_size, **bicubic),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    # rand-m9-mstd0.5-inc1 of timm
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[round(x) for x in mean[::-1]], interpolation='bicubic'),
    ),
    # The release erases normalized images with normal noise; these are in BGR, from 0 to 255.
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        mode='rand',
        fill_color=mean[::-1],
        fill_std=std[::-1],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    read,
    dict(type='ResizeEdge', scale=image_size[0] * 8 // 7, edge='short', **bicubic),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]

dataset = dict(type='saip.ImageNet', data_root=variable('SAIP_DATA', 'data') + '/imagenet')
batch_size = 64 if large else 128  # on each of eight GPUs
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5), collect_device='gpu')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()

rate = 8e-3 if plain and not large else 2e-3
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    accumulative_counts=4096 // (8 * batch_size),
    optimizer=dict(type='AdamW', lr=rate, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='saip.LayerDecayConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=(0.75 if large else 0.65) if plain else 1.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
auto_scale_lr = dict(base_batch_size=4096)
epochs = scaled(50 if large else 100, _base_.scale, least=2)
warmup = scaled(5, _base_.scale)
# From 0, of which mmengine's factor has to differ, to the rate, and down to 1e-6 by every step.
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        begin=0,
        end=warmup,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / rate,
        T_max=epochs - warmup,
        begin=warmup,
        end=epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
custom_hooks = [dict(type='saip.ClassCountHook')]
default_hooks = dict(
    checkpoint=dict(save_best='accuracy/top1'), bad_files=dict(type='saip.BadFilesHook')
)
work_dir = 'work_dirs/finetune_imagenet_{{$SAIP_BACKBONE:vit-tiny-p16}}'
