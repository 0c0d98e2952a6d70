# SOLIDER's own recipe from scratch, which is DINO's over 100 epochs: 7.5e-4 for 8 x 48 images.
_base_ = './adamw-coslr-300e_dino.py'
warm_up, cosine, decay = _base_.param_scheduler
cosine.T_max, cosine.end = 90, 100
decay.T_max = decay.end = 100
param_scheduler = [warm_up, cosine, decay]
optim_wrapper = dict(optimizer=dict(lr=7.5e-4))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=384)
