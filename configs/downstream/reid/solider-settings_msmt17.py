# bash tools/dist_finetune.sh configs/downstream/reid/solider-settings_msmt17.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): Rank-1 75.6
# The paper's text alone: TransReID "implemented in" SOLIDER, with SOLIDER's optimizer and batch.
_base_ = './transreid_msmt17.py'

train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=2e-4, momentum=0.9, weight_decay=1e-4)
)
work_dir = 'work_dirs/solider-settings_msmt17_{{$SAIP_BACKBONE:vit-tiny-p16}}'
