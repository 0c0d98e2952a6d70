# Preset `solider`: SOLIDER (Chen et al., CVPR 2023): DINO, parts of bodies found by clustering, and an
# encoder that is told by λ how much the parts count. docs/comparisons.md justifies every value.
preset = 'solider'
# Evaluation and export take λ = 0.2, the release's for re-identification, unless they are told another.
encoder_options = dict(drop_path_rate=0.1, controller=dict(condition=0.2))
# Colors and flip of every view; blur and solarization are the views' own.
colors = dict(
    jitter=dict(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
    gray=0.2,
    flip=0.5,
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
        renderer='device',
        resize_mode='bilinear',
        views=dict(
            semantic=dict(type='Bernoulli', probability=0.5),
            erased_part=dict(type='Uniform', number=2),
            anchor=dict(
                type='Crop',
                area=(0.8, 1.0),
                augment=dict(**colors, blur=1.0),
                condition='semantic',
            ),
            augmented=dict(
                type='Crop',
                area=(0.8, 1.0),
                augment=dict(**colors, blur=0.1, solarize=0.2),
                condition='semantic',
            ),
            local_crops=dict(
                type='Crop',
                number=8,
                size=(128, 64),
                area=(0.05, 0.8),
                augment=dict(**colors, blur=0.5),
                condition='semantic',
            ),
            anchor_semantic=dict(type='Same', of='anchor', condition=1.0),
            augmented_semantic=dict(type='Same', of='augmented', condition=1.0),
        ),
    ),
    expert=dict(
        type='saip.EMAExpert',
        momentum=dict(type='saip.CosineSchedule', start=0.996, end=1.0),
    ),
    objectives=dict(
        csm=dict(
            type='saip.CrossScaleMatching',
            target='expert_globals',
            predictors=('anchor', 'augmented', 'local_crops'),
            frozen_epochs=1,
            neck=dict(type='saip.DINOProjector', out_channels=65536),
            head=dict(
                type='saip.SelfDistillationHead',
                student_temp=0.1,
                teacher_temp=dict(type='saip.LinearSchedule', start=0.04, end=0.07, epochs=30),
            ),
        ),
        parts=dict(
            type='saip.SemanticParts',
            num_parts=3,
            train_classifier=True,
            neck=dict(type='saip.DINOProjector'),
            head=dict(type='saip.PartClassificationHead'),
        ),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
    dict(type='saip.ExportBackboneHook', interval=50),
]
