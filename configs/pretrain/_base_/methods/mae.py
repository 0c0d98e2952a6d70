# Preset `mae`: MAE (He et al., 2022) on crops of persons; docs/comparisons.md justifies every
# value. One clean view, no expert; positions are fixed. Plain ViT only.
preset = 'mae'
encoder_options = dict(pos_init='sincos')
model = dict(
    type='saip.Pretrainer',
    feature='patch_mean',
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(256, 128),
        patch_size=16,
        seed=0,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        renderer='device',
        resize_mode='bilinear',
        views=dict(
            clean=dict(
                type='Crop', area=(0.8, 1.0), aspect=(0.375, 0.667), augment=dict(flip=0.5)
            ),
            masked=dict(type='Masked', of='clean', mask=dict(type='RandomMask', ratio=0.75)),
        ),
    ),
    expert=None,
    objectives=dict(
        mae=dict(
            type='saip.MaskedReconstruction',
            neck=dict(type='saip.MaskedPatchDecoder', dims=512, depth=8, num_heads=16),
            head=dict(type='saip.PixelReconstructionHead', norm_pix=True, scored='masked'),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
    dict(type='saip.ExportBackboneHook', interval=50),
]
