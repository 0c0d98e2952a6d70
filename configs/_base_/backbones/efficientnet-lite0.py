# EfficientNet-Lite0: 3.37M parameters, a CNN for edge devices (Google, 2020); timm. No encoder of the paper.
backbone = dict(type='saip.TimmEncoder', model='tf_efficientnet_lite0')
embed_dims = 1280
pyramid_channels = [24, 40, 112, 1280]
last_stride = 32  # of the map that the encoder's forward returns
