# CAE's own recipe: 1.5e-3 for its 2,048 images (not scaled), 10 epochs warm-up from 1e-6, down to 1e-5,
# gradients clipped to a global norm of 3.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    constructor='saip.NoBiasDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6 / 1.5e-3,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=290,
        eta_min=1e-5,
        by_epoch=True,
        begin=10,
        end=300,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=300)
auto_scale_lr = dict(base_batch_size=2048)
