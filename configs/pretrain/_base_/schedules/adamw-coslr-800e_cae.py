# CAE's recipe over 800 epochs, 20 of them warm-up.
_base_ = './adamw-coslr-300e_cae.py'
warm_up, cosine = _base_.param_scheduler
warm_up.end = cosine.begin = 20
cosine.T_max, cosine.end = 780, 800
param_scheduler = [warm_up, cosine]
train_cfg = dict(max_epochs=800)
