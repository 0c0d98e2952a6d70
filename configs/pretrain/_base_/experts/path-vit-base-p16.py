# What SAIP* takes for its frozen expert: PATH's ViT-B/16 (HumanBench), 86M parameters, positions
# learned at 224x224; and what takes the place of cross-scale matching by prototypes.
#
# SAIP_EXPERT names the weights, which tools/model_converters/path_to_saip.py makes of PATH's release.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

expert_encoder = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072),
    img_size=(224, 224),
    patch_size=16,
)
expert_checkpoint = variable('SAIP_EXPERT', 'data/experts/path_vit-base-p16.pth')
feature_distillation = dict(
    type='saip.FeatureDistillation',
    neck=dict(type='saip.FeatureProjector'),
    head=dict(type='saip.FeatureDistillationHead', measure='smooth_l1'),
)
