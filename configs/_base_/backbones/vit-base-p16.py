# ViT-Base/16: 85.7M parameters, 768 wide, 12 blocks, 12 heads (Dosovitskiy et al., 2021), for ImageNet.
backbone = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072),
    patch_size=16,
)
embed_dims = 768
pyramid_channels = [192, 384, 768, 768]
last_stride = 16  # of the map that the encoder's forward returns
equal_blocks = (
    True  # a plain encoder: maps are read after its blocks, rates decay from block to block
)
