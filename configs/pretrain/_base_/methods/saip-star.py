# SAIP* of the paper: preset `saip` with a frozen, larger expert; docs/method.md says what changes.
_base_ = ['./saip.py', '../experts/path-vit-base-p16.py']
preset = 'saip-star'
model = dict(
    expert=dict(
        _delete_=True,
        type='saip.FrozenExpert',
        encoder=dict(**_base_.expert_encoder, feature_level=6),
        checkpoint=_base_.expert_checkpoint,
    ),
    objectives=dict(
        csm=dict(_delete_=True, target='expert_globals', **_base_.feature_distillation)
    ),
)
