# ViT-Small/16 of CAE: 21.6M parameters, 384 wide, 12 blocks, 12 heads (6 in DeiT's), for ImageNet.
backbone = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536),
    patch_size=16,
)
embed_dims = 384
pyramid_channels = [96, 192, 384, 384]
last_stride = 16  # of the map that the encoder's forward returns
equal_blocks = (
    True  # a plain encoder: maps are read after its blocks, rates decay from block to block
)
