# ViT-Base/16: 85.8M parameters at 224x224 (Dosovitskiy et al., 2021), for ImageNet.
backbone = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072),
    patch_size=16,
)
