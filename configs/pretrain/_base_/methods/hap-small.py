# A reduced HAP that two CPU cores can train in minutes: 128x64 anchors, a narrow decoder; with the
# encoder vit-4blocks-p16. It is not the method of the paper.
#
# Without SAIP_KEYPOINTS a standing person stands in for everybody; the log says so.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

preset = 'hap-small'
encoder_options = dict(pos_init='sincos')
keypoints_file = variable('SAIP_KEYPOINTS', 'none')
keypoints = None if keypoints_file == 'none' else keypoints_file
body_parts = dict(
    type='PartMask',
    ratio=0.5,
    min_patches=4,  # 12 of 128 patches in the full size
    on_missing='error' if keypoints else 'template',
)
model = dict(
    type='saip.Pretrainer',
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(128, 64),
        patch_size=16,
        seed=0,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        views=dict(
            clean=dict(
                type='Crop', area=(0.6, 1.0), aspect=(0.375, 2 / 3), augment=dict(flip=0.5)
            ),
            masked_a=dict(type='Masked', of='clean', mask=body_parts),
            masked_b=dict(type='Masked', of='clean', mask=body_parts),
        ),
    ),
    expert=None,
    objectives=dict(
        reconstruction=dict(
            type='saip.MaskedReconstruction',
            views=('masked_a', 'masked_b'),
            neck=dict(type='saip.MaskedPatchDecoder', dims=160, depth=2, num_heads=5),
            head=dict(type='saip.PixelReconstructionHead'),
        ),
        contrast=dict(
            type='saip.ImageTokenContrast',
            head=dict(type='saip.SymmetricContrastiveHead'),
            loss_weight=0.05,
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
]
