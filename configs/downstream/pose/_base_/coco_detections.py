"""ViTPose on COCO's images; people are tested where a person detector has found them."""

_base_ = './vitpose.py'
from saip.configs import variable

data_root = variable('SAIP_DATA', 'data') + '/coco'
detected = dict(
    data_root=data_root,
    bbox_file=f'{data_root}/person_detection_results/COCO_val2017_detections_AP_H_56_person.json',
)
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=detected)
test_dataloader = dict(dataset=detected)
