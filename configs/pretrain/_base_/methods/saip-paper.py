# Preset `saip-paper`: the paper's equations, and DINO's values where the paper refers to DINO. CSM's
# target is the expert, as in Section III-A; Eq. 1 as printed takes the student's anchor as the
# target (objectives.csm.target='student_anchor'). docs/method.md justifies every row.
preset = 'saip-paper'
encoder_options = dict(feature_level=None, drop_path_rate=0.1)
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
        resize_mode='bilinear',
        views=dict(
            anchor=dict(type='Crop', area=(0.4, 1.0), augment=dict(**colors, blur=1.0)),
            multires=dict(
                type='Rescale',
                of='anchor',
                number=2,
                scales=(0.75, 0.875, 1.125, 1.25, 1.375, 1.5),
            ),
            masked=dict(type='Masked', of='multires', mask=dict(type='RandomMask', ratio=0.75)),
            scene=dict(
                type='Scene',
                queries='multires',
                size=(224, 224),
                layout='overlap',
                alpha=1.0,
                augment=dict(**colors, blur=0.1, solarize=0.2),
            ),
        ),
    ),
    expert=dict(
        type='saip.EMAExpert',
        momentum=dict(type='saip.CosineSchedule', start=0.996, end=1.0),
    ),
    objectives=dict(
        csm=dict(
            type='saip.CrossScaleMatching',
            target='expert_multires',
            frozen_epochs=1,
            neck=dict(type='saip.DINOProjector', out_channels=65536),
            head=dict(type='saip.SelfDistillationHead', student_temp=0.1, teacher_temp=0.04),
        ),
        csr=dict(
            type='saip.CrossScaleReconstruction',
            masked_by='expert',
            neck=dict(
                type='saip.CrossScaleDecoder', condition='patch_tokens', depth=6, num_heads=16
            ),
            head=dict(type='saip.PixelReconstructionHead', norm_pix=False, scored='all'),
        ),
        css=dict(
            type='saip.CrossScaleSearch',
            queries=('multires',),
            neck=dict(type='saip.InstanceSearchDecoder', num_heads=16),
            head=dict(type='saip.InstanceMaskHead', loss='mse', cell_rule='cover'),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
    dict(type='saip.ExportBackboneHook', interval=50),
]
