# TinyViT-5M: 5.07M parameters. Its last stage keeps stride 16, as the paper's authors fine-tune it; the weights are those
# of tinyvit-5m.py. Which of the two the paper means is not written.
backbone = dict(type='saip.TimmEncoder', model='tiny_vit_5m_224', output_stride=16)
embed_dims = 320
pyramid_channels = [64, 128, 160, 320]
last_stride = 16  # of the map that the encoder's forward returns
