# SAIP_FOLDER=crops python tools/train.py configs/tokenizer/dvae_1xb256-amp-coslr_folder.py
# The same on a folder of person crops, for one device and SAIP_EPOCHS epochs (20).
_base_ = [
    '../pretrain/_base_/data/folder.py',
    './_base_/dvae.py',
    '../_base_/default_runtime.py',
]
from saip.configs import variable

asked = variable('SAIP_EPOCHS', '20')
epochs = int(asked) if asked.isdecimal() else 0
if epochs < 2:
    raise ValueError(f'SAIP_EPOCHS={asked}: a whole number of epochs, at least 2 here')
warm_up, cosine = _base_.param_scheduler
param_scheduler = [warm_up, {**cosine, 'T_max': epochs - 1, 'end': epochs}]
train_cfg = dict(max_epochs=epochs)
# Nothing is validated: the log shows loss_reconstruction and the number of codes in use.
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
