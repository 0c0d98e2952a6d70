# SAIP_FOLDER=crops python tools/train.py configs/tokenizer/dvae_1xb256-amp-coslr_folder.py
# The same on a folder of person crops, for one device.
_base_ = [
    '../pretrain/_base_/data/folder.py',
    './_base_/dvae.py',
    '../_base_/default_runtime.py',
]
# Nothing is validated: the log shows loss_reconstruction and the number of codes in use.
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
