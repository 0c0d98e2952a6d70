# A reduced SAIP that two CPU cores can train in minutes: 128x64 anchors, few prototypes, narrow
# decoders, fewer and smaller views without blur; with the encoder patch-resnet in the quickstart
# and vit-4blocks-p16 in comparisons. It shows that everything works together; it is not the method
# of the paper, and its figures say nothing about that.
#
# What differs in kind: the KoLeo term (batches of 32 collapse without it), a colder target and
# a faster expert (the run has under a thousand steps).
preset = 'saip-small'
encoder_options = dict()
# Colors and flip of every view; blur and solarization are the views' own.
colors = dict(
    jitter=dict(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.3, hue=0.1),
    gray=0.1,
    flip=0.5,
)
model = dict(
    type='saip.SAIP',
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
            multires=dict(type='Rescale', of='anchor', number=2, scales=(0.5, 0.75)),
            masked=dict(
                type='Masked',
                of='augmented',
                scales=(0.75, 1.0),
                mask=dict(type='RandomMask', ratio=0.75),
            ),
            scene=dict(
                type='Scene',
                queries='multires',
                size=(128, 128),
                layout='visible',
                alpha=0.7,
                distractors=1,
                augment=dict(**colors, blur=0.1, solarize=0.2),
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
            neck=dict(
                type='saip.DINOProjector',
                hidden_channels=512,
                bottleneck_channels=128,
                out_channels=512,
            ),
            head=dict(type='saip.SelfDistillationHead', teacher_temp=0.02),
        ),
        csr=dict(
            type='saip.CrossScaleReconstruction',
            neck=dict(type='saip.CrossScaleDecoder', dims=160, depth=2, num_heads=5),
            head=dict(type='saip.PixelReconstructionHead'),
        ),
        css=dict(
            type='saip.CrossScaleSearch',
            neck=dict(type='saip.InstanceSearchDecoder', dims=160, num_heads=5),
            head=dict(type='saip.InstanceMaskHead'),
        ),
        koleo=dict(type='saip.KoLeo', loss_weight=0.1),
    ),
)
custom_hooks = [
    dict(type='saip.BadFilesHook'),
    dict(type='saip.CollapseHook'),
]
