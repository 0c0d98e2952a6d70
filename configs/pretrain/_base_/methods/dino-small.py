# A reduced DINO for two CPU cores, with the sizes of saip-small.py, whose comment also says why the
# KoLeo term, the colder target and the faster expert are there. It is not the method of the paper.
preset = 'dino-small'
encoder_options = dict()
# Colors and flip of every view.
colors = dict(
    jitter=dict(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.3, hue=0.1),
    gray=0.1,
    flip=0.5,
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
            anchor=dict(type='Crop', area=(0.6, 1.0), augment=colors),
            augmented=dict(type='Crop', area=(0.6, 1.0), augment=colors),
            local_crops=dict(
                type='Crop', number=4, size=(64, 32), area=(0.5, 1.0), augment=colors
            ),
        ),
    ),
    expert=dict(
        type='saip.EMAExpert',
        momentum=dict(type='saip.CosineSchedule', start=0.98, end=1.0),
    ),
    objectives=dict(
        csm=dict(
            type='saip.CrossScaleMatching',
            target='expert_globals',
            predictors=('anchor', 'augmented', 'local_crops'),
            neck=dict(
                type='saip.DINOProjector',
                hidden_channels=512,
                bottleneck_channels=128,
                out_channels=512,
            ),
            head=dict(type='saip.SelfDistillationHead', teacher_temp=0.02),
        ),
        koleo=dict(type='saip.KoLeo', loss_weight=0.1),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
]
