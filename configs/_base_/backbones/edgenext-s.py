# EdgeNeXt-S: 5.28M parameters (5.59M with timm's classifier of 1000 classes), convolutions and
# attention over channels (Maaz et al., EdgeNeXt, 2022); timm.
backbone = dict(type='saip.TimmEncoder', model='edgenext_small')
embed_dims = 304
pyramid_channels = [48, 96, 160, 304]
last_stride = 32  # of the map that the encoder's forward returns
