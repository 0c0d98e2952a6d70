# bash tools/dist_finetune.sh configs/downstream/attributes/par_pa100k.py vit-tiny-p16 BACKBONE.pth 1
# SAIP ViT-Tiny in the paper (Table I): mA 80.7
_base_ = [
    './_base_/par.py',
    '../_base_/schedule_scale.py',
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
    head=dict(num_classes=26, in_channels=_base_.embed_dims),
)

data_root = '{{$SAIP_DATA:data}}/PA100K'
test_set = dict(
    type='saip.PA100K', data_root=data_root, split='test', pipeline=_base_.test_pipeline
)
train_dataloader = dict(
    dataset=dict(
        type='saip.PA100K',
        data_root=data_root,
        split='trainval',
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(dataset=test_set)
test_dataloader = dict(dataset=test_set)

epochs = max(1, int(25 * _base_.scale + 0.5))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
# On the loss of the test set, as in the baseline.
param_scheduler = dict(
    type='ReduceOnPlateauLR',
    monitor='attributes/loss',
    rule='less',
    factor=0.1,
    patience=max(1, int(4 * _base_.scale + 0.5)),
)
work_dir = 'work_dirs/par_pa100k_{{$SAIP_BACKBONE:vit-tiny-p16}}'
