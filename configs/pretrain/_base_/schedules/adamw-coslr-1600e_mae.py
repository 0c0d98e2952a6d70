# MAE's recipe over 1600 epochs.
_base_ = './adamw-coslr-800e_mae.py'
warm_up, cosine = _base_.param_scheduler
cosine.T_max, cosine.end = 1560, 1600
param_scheduler = [warm_up, cosine]
train_cfg = dict(max_epochs=1600)
