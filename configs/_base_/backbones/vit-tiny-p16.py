# ViT-Tiny/16: 5.5M parameters, 192 wide, 12 blocks, 3 heads (Touvron et al., DeiT, 2021).
backbone = dict(type='saip.ViTEncoder', arch='deit-tiny', patch_size=16)
embed_dims = 192
pyramid_channels = [48, 96, 192, 192]
last_stride = 16  # of the map that the encoder's forward returns
equal_blocks = (
    True  # a plain encoder: maps are read after its blocks, rates decay from block to block
)
