# bash tools/dist_finetune.sh configs/downstream/reid/transreid_msmt17.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): Rank-1 75.6
_base_ = [
    './_base_/transreid.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/encoder_init.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        **_base_.backbone,
        img_size=_base_.image_size,
        out_type='image_token',
        init_cfg=_base_.encoder_init,
    ),
    head=dict(num_classes=1041, in_channels=_base_.embed_dims),
)
dataset = dict(type='saip.MSMT17', data_root='{{$SAIP_DATA:data}}/MSMT17')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
# The last weights are evaluated: choosing by the test set would be choosing on it.
default_hooks = dict(checkpoint=dict(interval=_base_.interval, save_best=None))
work_dir = 'work_dirs/transreid_msmt17_{{$SAIP_BACKBONE:vit-tiny-p16}}'
