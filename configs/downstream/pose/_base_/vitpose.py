"""ViTPose (Xu et al., 2022) in the settings of mmpose's small model, with any encoder.

A leaf adds the data set. A plain ViT takes ViTPose's own head, weight decay, clipping, layer decay
and stochastic depth; others take as many deconvolutions as lead to stride 4, and what the paper's
authors have for them: one learning rate for all layers, no weight decay, no clipping.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py',
    '../../_base_/schedule_scale.py',
    '../../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../../_base_/encoder_init.py',
]
from saip.downstream.schedule import linear_warmup, scaled

# In place of the base's, whose layer decay counts the blocks by their names.
custom_imports = dict(imports=['saip.downstream.pose'], allow_failed_imports=False)

plain = _base_.get('equal_blocks', False)
tiny_vit = _base_.backbone.get('model') == 'tiny_vit_5m_224'
deconvolutions = _base_.last_stride.bit_length() - 3  # each doubles the map, up to stride 4
if _base_.last_stride not in (4, 8, 16, 32, 64):
    raise ValueError(
        f'last_stride={_base_.last_stride} of this encoder: doubling its map never leads to heatmaps '
        'of stride 4; 4, 8, 16, 32 or 64 is needed'
    )
model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.backbone,
        img_size=(256, 192),
        drop_path_rate=0.1 if plain else 0.0,
        init_cfg=_base_.encoder_init,
    ),
    head=dict(
        in_channels=_base_.pyramid_channels[-1],
        deconv_out_channels=(256,) * deconvolutions,
        deconv_kernel_sizes=(4,) * deconvolutions,
    ),
    # The accuracy of training batches is found on the host, which would wait at every step.
    train_cfg=dict(compute_acc=False),
)

train_dataloader = dict(pin_memory=True)
val_dataloader = dict(pin_memory=True)
test_dataloader = dict(pin_memory=True)

optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    dtype='float32',
    optimizer=dict(lr=7e-4 if tiny_vit else 5e-4, weight_decay=0.1 if plain else 0.0),
    clip_grad=dict(max_norm=1.0, norm_type=2) if plain else None,
    constructor='saip.LayerDecayConstructor',
    paramwise_cfg=dict(
        _delete_=True,
        layer_decay_rate=0.8 if plain else 1.0,
        flat_decay_mult=0.0,
        custom_keys=dict(pos_embed=dict(decay_mult=0.0)),
    ),
)
epochs = scaled(210, _base_.scale)
interval = scaled(10, _base_.scale)
param_scheduler = [
    linear_warmup(500, _base_.scale, start_factor=0.001, by_epoch=False),
    dict(
        type='MultiStepLR',
        begin=0,
        end=epochs,
        milestones=[scaled(epoch, _base_.scale) for epoch in (170, 200)],
        gamma=0.1,
        by_epoch=True,
    ),
]
train_cfg = dict(max_epochs=epochs, val_interval=interval)

default_hooks = dict(
    runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
    bad_files=dict(type='saip.BadFilesHook'),
    checkpoint=dict(type='saip.AtomicCheckpointHook', interval=interval, max_keep_ckpts=3),
)
val_evaluator = dict(collect_device='gpu')
test_evaluator = dict(collect_device='gpu')

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends)
randomness = dict(seed=0)
env_cfg = dict(cudnn_benchmark=True)
