# Four blocks of ViT-Tiny/16: 1.95M parameters. The quickstart's encoder on a CPU, no encoder of the
# paper.
backbone = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=192, num_layers=4, num_heads=3, feedforward_channels=768),
    patch_size=16,
    feature_level=2,
)
embed_dims = 192
pyramid_channels = [48, 96, 192, 192]
last_stride = 16  # of the map that the encoder's forward returns
equal_blocks = (
    True  # a plain encoder: maps are read after its blocks, rates decay from block to block
)
