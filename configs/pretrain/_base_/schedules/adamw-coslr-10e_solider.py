# SOLIDER's second stage after DINO: a tenth of the learning rate (5e-5 per 256 images), 10 epochs, one
# of them warm-up.
_base_ = './adamw-coslr-300e_dino.py'
warm_up, cosine, decay = _base_.param_scheduler
warm_up.end = cosine.begin = 1
cosine.T_max, cosine.end = 9, 10
decay.T_max = decay.end = 10
param_scheduler = [warm_up, cosine, decay]
optim_wrapper = dict(optimizer=dict(lr=7.5e-5))
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=384)
