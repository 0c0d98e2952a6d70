# ViT-Large/16: 303.2M parameters, 1024 wide, 24 blocks, 16 heads (Dosovitskiy et al., 2021), for ImageNet.
backbone = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=1024, num_layers=24, num_heads=16, feedforward_channels=4096),
    patch_size=16,
)
embed_dims = 1024
pyramid_channels = [256, 512, 1024, 1024]
last_stride = 16  # of the map that the encoder's forward returns
equal_blocks = (
    True  # a plain encoder: maps are read after its blocks, rates decay from block to block
)
