# StarNet-S3: 5.49M parameters. Its last stage keeps stride 16, as the paper's authors fine-tune it; the weights are those
# of starnet-s3.py. Which of the two the paper means is not written.
backbone = dict(type='saip.TimmEncoder', model='starnet_s3', output_stride=16)
embed_dims = 256
pyramid_channels = [32, 64, 128, 256]
last_stride = 16  # of the map that the encoder's forward returns
