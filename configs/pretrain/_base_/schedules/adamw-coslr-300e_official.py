# The release's command: 8 GPUs x 64 images x 4 accumulated micro-batches, no clipping.
_base_ = './adamw-coslr-300e.py'
optim_wrapper = dict(accumulative_counts=4, clip_grad=None)
