# A reduced MAE for two CPU cores, with the sizes of saip-small.py. It is not the method of the paper.
preset = 'mae-small'
encoder_options = dict(pos_init='sincos')
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
            masked=dict(type='Masked', of='clean', mask=dict(type='RandomMask', ratio=0.75)),
        ),
    ),
    expert=None,
    objectives=dict(
        mae=dict(
            type='saip.MaskedReconstruction',
            neck=dict(type='saip.MaskedPatchDecoder', dims=160, depth=2, num_heads=5),
            head=dict(type='saip.PixelReconstructionHead'),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
]
