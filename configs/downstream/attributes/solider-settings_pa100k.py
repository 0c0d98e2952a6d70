# bash tools/dist_finetune.sh configs/downstream/attributes/solider-settings_pa100k.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): mA 80.7
# The paper's text alone: PAR "as implemented in" SOLIDER, with SOLIDER's optimizer and schedule.
_base_ = './par_pa100k.py'
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-5))
work_dir = 'work_dirs/solider-settings_pa100k_{{$SAIP_BACKBONE:vit-tiny-p16}}'
