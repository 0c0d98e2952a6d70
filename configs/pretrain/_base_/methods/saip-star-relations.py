# Experimental. SAIP* with relations: preset `saip` whose matching compares how student and frozen
# expert relate the tokens of the same view in their last blocks, as a mean over the heads; ViT
# only. docs/method.md says what that leaves untrained.
_base_ = ['./saip.py', '../experts/path-vit-base-p16.py']
preset = 'saip-star-relations'
model = dict(
    expert=dict(
        _delete_=True,
        type='saip.FrozenExpert',
        encoder=dict(**_base_.expert_encoder, feature_level=6),
        checkpoint=_base_.expert_checkpoint,
    ),
    objectives=dict(
        csm=dict(
            _delete_=True,
            type='saip.AttentionRelationDistillation',
            merge_heads=True,
            head=dict(type='saip.AttentionRelationHead'),
        )
    ),
)
