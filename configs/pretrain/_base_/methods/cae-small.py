# A reduced CAE for two CPU cores, with the sizes of saip-small.py. It is not the method of the paper.
preset = 'cae-small'
encoder_options = dict(pos_init='sincos', layer_scale=0.1)
model = dict(
    type='saip.Pretrainer',
    feature='patch_mean',
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(128, 64),
        patch_size=16,
        seed=0,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        views=dict(
            clean=dict(type='Crop', area=(0.6, 1.0), augment=dict(flip=0.5)),
            masked=dict(
                type='Masked', of='clean', mask=dict(type='BlockMask', ratio=0.5, min_patches=4)
            ),
            complement=dict(
                type='Masked', of='masked', mask=dict(type='ComplementMask', of='masked')
            ),
        ),
    ),
    expert=dict(type='saip.EMAExpert', momentum=0.0),
    objectives=dict(
        cae=dict(
            type='saip.ContextAutoencoder',
            regressor=dict(type='saip.LatentRegressor', depth=2),
            decoder=dict(type='saip.MaskedLatentDecoder', depth=2),
            target=dict(type='saip.PixelTarget'),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
]
