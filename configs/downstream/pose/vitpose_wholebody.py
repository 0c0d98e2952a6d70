# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_wholebody.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table II): AP 45.7, AR 58.7, of all 133 landmarks together
_base_ = './_base_/coco_detections.py'

model = dict(head=dict(out_channels=133))
dataset_type = 'saip.CocoWholeBody'
tested = 'annotations/coco_wholebody_val_v1.0.json'
train_dataloader = dict(
    dataset=dict(type=dataset_type, ann_file='annotations/coco_wholebody_train_v1.0.json')
)
val_dataloader = dict(dataset=dict(type=dataset_type, ann_file=tested))
test_dataloader = dict(dataset=dict(type=dataset_type, ann_file=tested))
val_evaluator = dict(
    type='mmpose.CocoWholeBodyMetric',
    ann_file=f'{_base_.data_root}/{tested}',
)
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='coco-wholebody/AP'))
work_dir = 'work_dirs/vitpose_wholebody_{{$SAIP_BACKBONE:vit-tiny-p16}}'
