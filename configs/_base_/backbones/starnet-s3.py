# StarNet-S3: 5.49M parameters (5.75M with timm's classifier of 1000 classes), a CNN
# (Ma et al., Rewrite the Stars, 2024); timm.
backbone = dict(type='saip.TimmEncoder', model='starnet_s3')
embed_dims = 256
pyramid_channels = [32, 64, 128, 256]
last_stride = 32  # of the map that the encoder's forward returns
