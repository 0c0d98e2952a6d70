# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_coco.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table II): AP 70.1, AR 73.3
_base_ = './_base_/coco_detections.py'

dataset = dict(type='saip.CocoKeypoints')  # the files are those of mmpose's configuration
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(
    type='mmpose.CocoMetric',
    ann_file=f'{_base_.data_root}/annotations/person_keypoints_val2017.json',
)
test_evaluator = val_evaluator
work_dir = 'work_dirs/vitpose_coco_{{$SAIP_BACKBONE:vit-tiny-p16}}'
