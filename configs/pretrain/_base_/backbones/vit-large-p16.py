# ViT-Large/16: 303.3M parameters at 224x224 (Dosovitskiy et al., 2021), for ImageNet.
backbone = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=1024, num_layers=24, num_heads=16, feedforward_channels=4096),
    patch_size=16,
)
