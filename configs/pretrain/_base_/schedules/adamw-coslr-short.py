# A short run of SAIP_EPOCHS epochs for one device: a tenth of it warm-up, then half a cosine. The
# warm-up is a whole epoch at least: a part of one is no step at all where images are few.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

asked = variable('SAIP_EPOCHS', '6')
epochs = int(asked) if asked.isdecimal() else 0
if epochs < 1:
    raise ValueError(f'SAIP_EPOCHS={asked}: a whole number of epochs, at least 1')
warmup = max(1, epochs // 10) if epochs > 1 else 0.5
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    constructor='saip.NoBiasDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=warmup,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=epochs - warmup,
        eta_min=0.0,
        by_epoch=True,
        begin=warmup,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=max(1, epochs // 6))
auto_scale_lr = dict(base_batch_size=256)
