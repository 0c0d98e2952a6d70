# HAP (Yuan et al., 2023): two masks of one clean crop, parts of the body hidden first; pixels of both
# and the agreement of their image tokens. docs/comparisons/hap.md justifies every choice.
#
# SAIP_KEYPOINTS names the file of the training set's keypoints (tools/dataset_converters/
# make_keypoints.py). Without it no training begins; `none` takes a standing person for everybody.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

preset = 'hap'
encoder_options = dict(pos_init='sincos')
keypoints_file = variable('SAIP_KEYPOINTS', 'not set')
keypoints = None if keypoints_file in ('none', 'not set') else keypoints_file
body_parts = dict(
    type='PartMask',
    ratio=0.5,
    min_patches=12,
    parts='paper',
    score_threshold=0.0,
    on_missing='template' if keypoints_file == 'none' else 'error',
)
model = dict(
    type='saip.Pretrainer',
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(256, 128),
        patch_size=16,
        seed=0,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        views=dict(
            clean=dict(
                type='Crop', area=(0.8, 1.0), aspect=(0.375, 2 / 3), augment=dict(flip=0.5)
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
            neck=dict(type='saip.MaskedPatchDecoder', dims=512, depth=8, num_heads=16),
            head=dict(type='saip.PixelReconstructionHead', norm_pix=True),
        ),
        contrast=dict(
            type='saip.ImageTokenContrast',
            head=dict(type='saip.SymmetricContrastiveHead', temperature=0.2),
            loss_weight=0.05,
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
    dict(type='saip.ExportBackboneHook', interval=50),
]
