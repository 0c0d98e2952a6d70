# A reduced MAE+DINO for two CPU cores: DINO as in dino-small.py, a clean masked view beside it as in
# mae-small.py, one fixed table of positions. It is not the method of the paper.
_base_ = './dino-small.py'
preset = 'mae-dino-small'
encoder_options = dict(pos_init='sincos')
model = dict(
    data_preprocessor=dict(
        views=dict(
            clean=dict(type='Crop', area=(0.6, 1.0), augment=dict(flip=0.5)),
            masked=dict(type='Masked', of='clean', mask=dict(type='RandomMask', ratio=0.75)),
        ),
    ),
    objectives=dict(
        mae=dict(
            type='saip.MaskedReconstruction',
            neck=dict(type='saip.MaskedPatchDecoder', dims=160, depth=2, num_heads=5),
            head=dict(type='saip.PixelReconstructionHead'),
        ),
    ),
)
