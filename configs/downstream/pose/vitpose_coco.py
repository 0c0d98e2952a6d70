# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_coco.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table II): AP 70.1, AR 73.3
_base_ = './_base_/vitpose.py'

dataset_type = 'saip.CocoKeypoints'
data_root = '{{$SAIP_DATA:data}}/coco'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_set = dict(
    type=dataset_type,
    data_root=data_root,
    bbox_file=f'{data_root}/person_detection_results/COCO_val2017_detections_AP_H_56_person.json',
)
val_dataloader = dict(dataset=val_set)
test_dataloader = dict(dataset=val_set)
val_evaluator = dict(
    type='mmpose.CocoMetric',
    ann_file=f'{data_root}/annotations/person_keypoints_val2017.json',
)
test_evaluator = val_evaluator
work_dir = 'work_dirs/vitpose_coco_{{$SAIP_BACKBONE:vit-tiny-p16}}'
