# MAE's recipe over the 400 epochs of mae-lite and HAP.
_base_ = './adamw-coslr-800e_mae.py'
warm_up, cosine = _base_.param_scheduler
cosine.T_max, cosine.end = 360, 400
param_scheduler = [warm_up, cosine]
train_cfg = dict(max_epochs=400)
