# MAE's own recipe: 1.5e-4 per 256 images (2.4e-3 for its 4,096), 40 epochs warm-up, 800 epochs, no
# clipping.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='saip.NoBiasDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=40,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=760,
        eta_min=0.0,
        by_epoch=True,
        begin=40,
        end=800,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=800)
auto_scale_lr = dict(base_batch_size=4096)
