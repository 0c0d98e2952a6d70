# Preset `cae`: the context autoencoder (Chen et al., 2022) with pixels as the target, which needs no
# other weights; cae-hog.py, cae-dvae.py and cae-dalle.py have other targets. docs/cae.md maps the
# release's flags. Plain ViT only. The statistics are those that its README takes for images other
# than ImageNet's.
preset = 'cae'
encoder_options = dict(pos_init='sincos', layer_scale=0.1, drop_path_rate=0.1)
model = dict(
    type='saip.Pretrainer',
    feature='patch_mean',
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(256, 128),
        patch_size=16,
        seed=0,
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        renderer='device',
        resize_mode='bilinear',
        views=dict(
            clean=dict(
                type='Crop', area=(0.8, 1.0), aspect=(0.375, 0.667), augment=dict(flip=0.5)
            ),
            masked=dict(
                type='Masked',
                of='clean',
                mask=dict(type='BlockMask', ratio=0.5, min_patches=12),
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
            align_weight=2.0,
            regressor=dict(
                type='saip.LatentRegressor', depth=4, layer_scale=0.1, drop_path=0.1
            ),
            decoder=dict(
                type='saip.MaskedLatentDecoder', depth=4, layer_scale=0.1, drop_path=0.1
            ),
            target=dict(type='saip.PixelTarget', norm_pix=True),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
    dict(type='saip.ExportBackboneHook', interval=50),
]
