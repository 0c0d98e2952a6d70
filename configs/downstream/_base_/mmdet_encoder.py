# What mmdet's tasks share: the encoder as their backbone, and how every training runs. A leaf has one
# of mmdet's configurations as its other base, and two bases may not set the same key; so what changes
# mmdet's keys has a name of its own here, and the leaf puts it where it belongs, see
# detection/crowddet_crowdhuman.py.
_base_ = [
    './schedule_scale.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/encoder_init.py',
]

# model.data_preprocessor: mmdet's bases have ResNet's statistics, some in BGR; these encoders have
# learned from RGB.
encoder_pixels = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)

# model.backbone, in place of mmdet's; model.neck.in_channels are the fragment's pyramid_channels. A
# plain ViT's pyramid is as the paper's authors make it.
encoder_pyramid = dict(
    type='saip.FeaturePyramid',
    norm='BN',
    coarsest='conv',
    encoder=dict(**_base_.backbone, init_cfg=_base_.encoder_init),
)

# default_hooks.runtime_info, .bad_files and .checkpoint; a leaf adds interval and save_best.
runtime_info = dict(type='saip.AsyncRuntimeInfoHook')
bad_files = dict(type='saip.BadFilesHook')
checkpoint = dict(type='saip.AtomicCheckpointHook', max_keep_ckpts=3, rule='greater')

# vis_backends and visualizer.vis_backends
log_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]

randomness = dict(seed=0)
