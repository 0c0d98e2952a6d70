# Preset `mae-lite`: MAE as Wang et al. (2023) train it on ViT-Tiny: twelve heads instead of three, a
# decoder of one narrow block, smaller crops.
_base_ = './mae.py'
preset = 'mae-lite'
encoder_options = dict(
    arch=dict(embed_dims=192, num_layers=12, num_heads=12, feedforward_channels=768),
)
model = dict(
    data_preprocessor=dict(views=dict(clean=dict(area=(0.08, 1.0)))),
    objectives=dict(mae=dict(neck=dict(dims=96, depth=1, num_heads=3))),
)
