# Preset `saip-paper`: where the text defers to DINO, gradients are clipped to 3 per tensor and the
# learning rate ends at 1e-6.
_base_ = './adamw-coslr-300e.py'
optim_wrapper = dict(clip_grad=dict(type='per_tensor', max_norm=3.0))
warm_up, cosine = _base_.param_scheduler
cosine.eta_min = 1e-6
param_scheduler = [warm_up, cosine]
