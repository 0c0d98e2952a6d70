# Preset `mae-dino`: DINO and MAE on one encoder (after Park et al., 2023): DINO's views, and a clean
# masked one beside them; docs/comparisons.md justifies every value. Both losses weigh 1; preset
# `mae-dino-lambda` weighs them otherwise. Plain ViT only.
_base_ = './dino.py'
preset = 'mae-dino'
encoder_options = dict(pos_init='sincos')
model = dict(
    data_preprocessor=dict(
        views=dict(
            clean=dict(
                type='Crop', area=(0.8, 1.0), aspect=(0.375, 0.667), augment=dict(flip=0.5)
            ),
            masked=dict(type='Masked', of='clean', mask=dict(type='RandomMask', ratio=0.75)),
        ),
    ),
    objectives=dict(
        mae=dict(
            type='saip.MaskedReconstruction',
            loss_weight=1.0,
            neck=dict(type='saip.MaskedPatchDecoder', dims=512, depth=8, num_heads=16),
            head=dict(type='saip.PixelReconstructionHead', norm_pix=True, scored='masked'),
        ),
    ),
)
