# SOLIDER's own recipe from scratch, which is DINO's: 5e-4 per 256 images (7.5e-4 for 8 x 48), 10 epochs
# warm-up, down to 1e-6; weight decay from 0.04 up to 0.4 on matrices, none on biases and norms; each
# tensor's gradient clipped to 3.
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=7.5e-4, betas=(0.9, 0.999), weight_decay=0.04),
    clip_grad=dict(type='per_tensor', max_norm=3.0),
    constructor='saip.NoBiasDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=90,
        eta_min=1e-6,
        by_epoch=True,
        begin=10,
        end=100,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingWeightDecay',
        T_max=100,
        eta_min=0.4,
        by_epoch=True,
        begin=0,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100)
auto_scale_lr = dict(base_batch_size=384)
