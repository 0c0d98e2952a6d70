# CAE's recipe over 1600 epochs, 40 of them warm-up.
_base_ = './adamw-coslr-300e_cae.py'
warm_up, cosine = _base_.param_scheduler
warm_up.end = cosine.begin = 40
cosine.T_max, cosine.end = 1560, 1600
param_scheduler = [warm_up, cosine]
train_cfg = dict(max_epochs=1600)
