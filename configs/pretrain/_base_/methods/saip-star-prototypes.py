# Experimental. SAIP* with prototypes: preset `saip` whose frozen expert's image tokens pass a fixed
# random projection to the student's width and an average of its projector; docs/method.md says
# what may go wrong.
_base_ = ['./saip.py', '../experts/path-vit-base-p16.py']
preset = 'saip-star-prototypes'
model = dict(
    expert=dict(
        _delete_=True,
        type='saip.FrozenExpert',
        encoder=dict(**_base_.expert_encoder, feature_level=6),
        checkpoint=_base_.expert_checkpoint,
        momentum=dict(type='saip.CosineSchedule', start=0.996, end=1.0),
    ),
    objectives=dict(csm=dict(adapter=dict(type='saip.RandomProjection'))),
)
