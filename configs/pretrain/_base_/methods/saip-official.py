# Preset `saip-official`: bug-compatible with the authors' release, ViT only; checked number by
# number with tools/analysis_tools/parity.py. docs/method.md justifies every row.
preset = 'saip-official'
encoder_options = dict(feature_level=6, pos_interp='flat1d', pos_init='uniform')
# Colors and flip of every view; blur and solarization are the views' own.
colors = dict(
    jitter=dict(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
    gray=0.2,
    flip=0.5,
)
model = dict(
    type='saip.SAIP',
    data_preprocessor=dict(
        type='saip.ViewsPreprocessor',
        size=(256, 128),
        patch_size=16,
        seed=0,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        renderer='device',
        resize_mode='nearest',
        views=dict(
            anchor=dict(type='Crop', area=(0.8, 1.0), augment=dict(**colors, blur=1.0)),
            augmented=dict(
                type='Crop', area=(0.8, 1.0), augment=dict(**colors, blur=0.1, solarize=0.2)
            ),
            local_crops=dict(
                type='OfficialCrop',
                number=6,
                size=(128, 64),
                area=(0.05, 0.8),
                augment=dict(**colors, blur=0.5),
            ),
            extra_local_crop=dict(
                type='OfficialCrop',
                size=(128, 64),
                area=(0.05, 0.8),
                augment=dict(**colors, blur=0.5),
            ),
            multires=dict(type='OfficialRescale', scales=(0.75, 0.875, 1.125, 1.25)),
            masked=dict(
                type='Masked',
                of='augmented',
                scales=(1.25,),
                mask=dict(type='OfficialMask', ratio=0.75),
            ),
            scene=dict(
                type='OfficialScene',
                size=(224, 224),
                alpha=0.7,
                augment=dict(**colors, blur=0.1, solarize=0.2),
            ),
        ),
    ),
    expert=dict(
        type='saip.OfficialEMAExpert',
        momentum=dict(type='saip.OfficialCosineSchedule', start=0.996, end=1.0),
    ),
    objectives=dict(
        csm=dict(
            type='saip.OfficialCrossScaleMatching',
            target='expert_globals',
            neck=dict(type='saip.DINOProjector', out_channels=65536),
            head=dict(type='saip.SelfDistillationHead', student_temp=0.1, teacher_temp=0.04),
        ),
        relation=dict(
            type='saip.AttentionRelationDistillation',
            head=dict(type='saip.AttentionRelationHead'),
        ),
        csr=dict(
            type='saip.CrossScaleReconstruction',
            masked_by='student',
            neck=dict(
                type='saip.CrossScaleDecoder',
                condition='image_token',
                depth=8,
                num_heads=16,
                pos_interp='flat1d',
                pos_init='uniform',
            ),
            head=dict(type='saip.PixelReconstructionHead', norm_pix=True, scored='masked'),
        ),
        css=dict(
            type='saip.CrossScaleSearch',
            queries=('anchor', 'multires_0'),
            neck=dict(type='saip.InstanceSearchDecoder', num_heads=16),
            head=dict(type='saip.InstanceMaskHead', loss='bce', cell_rule='nearest'),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
    dict(type='saip.ExportBackboneHook', interval=50),
]
