# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_chimpact.py vit-tiny-p16 BACKBONE.pth 4
# SAIP ViT-Tiny in the paper (Table VII): AP 18.2; here on the test part, by tools/test.py, once
_base_ = './_base_/vitpose.py'
from saip.configs import variable

# As the paper's authors have it: MSRA's heatmaps, whose flipped copies are shifted, and no half body.
codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
model = dict(
    head=dict(out_channels=16, decoder=dict(_delete_=True, **codec)),
    test_cfg=dict(shift_heatmap=True),
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]

dataset_type = 'saip.ChimpACT'
data_root = variable('SAIP_DATA', 'data') + '/ChimpACT'
train_dataloader = dict(
    batch_size=10,  # on each of four GPUs
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/images/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/val.json',
        bbox_file=None,
        data_prefix=dict(img='val/images/'),
        pipeline=val_pipeline,
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/test.json',
        bbox_file=None,
        data_prefix=dict(img='test/images/'),
        pipeline=val_pipeline,
    )
)
val_evaluator = dict(type='mmpose.CocoMetric', ann_file=f'{data_root}/annotations/val.json')
test_evaluator = dict(type='mmpose.CocoMetric', ann_file=f'{data_root}/annotations/test.json')

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=5e-4, weight_decay=0.0),
    clip_grad=None,
    paramwise_cfg=dict(layer_decay_rate=1.0),
)
auto_scale_lr = dict(base_batch_size=40)
work_dir = 'work_dirs/vitpose_chimpact_{{$SAIP_BACKBONE:vit-tiny-p16}}'
