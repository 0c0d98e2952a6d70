# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_ap10k.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table VII): AP 60.8; here on the test part of split 1, by tools/test.py
_base_ = './_base_/vitpose.py'
from saip.configs import variable

codec = dict(type='UDPHeatmap', input_size=(256, 256), heatmap_size=(64, 64), sigma=2)
model = dict(backbone=dict(img_size=(256, 256)), head=dict(decoder=codec))

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='PackPoseInputs'),
]

dataset_type = 'saip.AP10K'
data_root = variable('SAIP_DATA', 'data') + '/ap10k'
dataset = dict(type=dataset_type, data_root=data_root, data_prefix=dict(img='data/'))
train_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='annotations/ap10k-train-split1.json', pipeline=train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='annotations/ap10k-val-split1.json',
        bbox_file=None,
        pipeline=val_pipeline,
    )
)
test_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='annotations/ap10k-test-split1.json',
        bbox_file=None,
        pipeline=val_pipeline,
    )
)
val_evaluator = dict(
    type='mmpose.CocoMetric', ann_file=f'{data_root}/annotations/ap10k-val-split1.json'
)
test_evaluator = dict(
    type='mmpose.CocoMetric', ann_file=f'{data_root}/annotations/ap10k-test-split1.json'
)
work_dir = 'work_dirs/vitpose_ap10k_{{$SAIP_BACKBONE:vit-tiny-p16}}'
