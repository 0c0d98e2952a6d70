# A discrete VAE on crops as preset cae-dvae cuts them: 20 epochs, temperature of the Gumbel-softmax
# from 1 to 1/16 (Ramesh et al., 2021), codes pulled towards equal use.
model = dict(
    type='saip.TokenizerTrainer',
    tokenizer=dict(type='saip.DiscreteVAE', num_codes=2048, code_dims=256, width=128, depth=2),
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(128, 64),
        patch_size=8,
        seed=0,
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        views=dict(
            crop=dict(
                type='Crop', area=(0.8, 1.0), aspect=(0.375, 0.667), augment=dict(flip=0.5)
            )
        ),
    ),
    view='crop',
    temperature=dict(type='saip.CosineSchedule', start=1.0, end=0.0625),
    diversity_weight=0.01,
)
optim_wrapper = dict(
    type='saip.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0),
    clip_grad=dict(max_norm=3.0),
    constructor='saip.NoBiasDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=19,
        eta_min=1e-5,
        by_epoch=True,
        begin=1,
        end=20,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=20)
auto_scale_lr = dict(base_batch_size=256)
custom_hooks = [dict(type='saip.BadFilesHook')]
