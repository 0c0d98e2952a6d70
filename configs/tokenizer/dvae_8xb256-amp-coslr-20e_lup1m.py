# bash tools/dist_train.sh configs/tokenizer/dvae_8xb256-amp-coslr-20e_lup1m.py 8
# A discrete VAE of 2,048 codes, one per 8x8 pixels of a crop of 128x64: the codes of the patches that
# preset cae-dvae predicts. Watch `codes` in the log: how many of them a batch uses.
_base_ = [
    '../pretrain/_base_/data/lup1m.py',
    './_base_/dvae.py',
    '../_base_/default_runtime.py',
]
# Nothing is validated: the log shows loss_reconstruction and the number of codes in use.
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
auto_scale_lr = dict(base_batch_size=2048)
