# HAP's own recipe: 1.5e-4 per 256 images (2.4e-3 for 8 x 512), 40 epochs warm-up, no clipping.
_base_ = './adamw-coslr-300e.py'
optim_wrapper = dict(optimizer=dict(lr=2.4e-3), clip_grad=None)
warm_up, cosine = _base_.param_scheduler
warm_up.end = 40
cosine.update(begin=40, end=400, T_max=360)
param_scheduler = [warm_up, cosine]
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=4096)
