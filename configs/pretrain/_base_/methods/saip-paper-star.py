# SAIP* by the text: preset `saip-paper` with a frozen, larger expert; docs/method.md says what
# changes.
_base_ = ['./saip-paper.py', '../experts/path-vit-base-p16.py']
preset = 'saip-paper-star'
model = dict(
    expert=dict(
        _delete_=True,
        type='saip.FrozenExpert',
        encoder=dict(**_base_.expert_encoder, feature_level=None),
        checkpoint=_base_.expert_checkpoint,
    ),
    objectives=dict(
        csm=dict(_delete_=True, target='expert_multires', **_base_.feature_distillation)
    ),
)
