# Preset `mae-dino-lambda`: (1 - lambda) MAE + lambda DINO with lambda = 0.2 (Park et al., 2023).
_base_ = './mae-dino.py'
preset = 'mae-dino-lambda'
model = dict(objectives=dict(csm=dict(loss_weight=0.2), mae=dict(loss_weight=0.8)))
