# ResNet18: 11.18M parameters (11.69M with timm's classifier of 1000 classes), a CNN
# (He et al., Deep Residual Learning, 2016); timm.
backbone = dict(type='saip.TimmEncoder', model='resnet18')
embed_dims = 512
pyramid_channels = [64, 128, 256, 512]
last_stride = 32  # of the map that the encoder's forward returns
