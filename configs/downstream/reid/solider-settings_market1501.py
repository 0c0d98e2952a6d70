# bash tools/dist_finetune.sh configs/downstream/reid/solider-settings_market1501.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): Rank-1 93.6
# The paper's text alone: TransReID "implemented in" SOLIDER, with SOLIDER's optimizer and batch.
_base_ = './transreid_market1501.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=2e-4, momentum=0.9, weight_decay=1e-4)
)
work_dir = 'work_dirs/solider-settings_market1501_{{$SAIP_BACKBONE:vit-tiny-p16}}'
