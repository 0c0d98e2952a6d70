# TinyViT-5M: 5.07M parameters (5.39M with timm's classifier of 1000 classes), convolutions, then
# attention in windows (Wu et al., TinyViT, 2022); timm. Its last map has stride 32.
backbone = dict(type='saip.TimmEncoder', model='tiny_vit_5m_224')
embed_dims = 320
pyramid_channels = [64, 128, 160, 320]
last_stride = 32  # of the map that the encoder's forward returns
