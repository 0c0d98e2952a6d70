# A residual network behind a patch embedding: 0.64M parameters. The quickstart's encoder on a CPU,
# where it computes in bfloat16 and learns more in minutes than a plain ViT; no encoder of the
# paper.
backbone = dict(type='saip.PatchResNetEncoder')
embed_dims = 1024
pyramid_channels = [32, 64, 256, 256]
last_stride = 16  # of the map that the encoder's forward returns
