# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_humanart.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table VII): AP 67.5, fine-tuned on HumanArt alone
_base_ = './_base_/vitpose.py'
from saip.configs import variable

dataset_type = 'saip.HumanArt'
data_root = (
    variable('SAIP_DATA', 'data') + '/'
)  # the files' names in the annotations begin with HumanArt/
prefix = dict(img='')
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='HumanArt/annotations/training_humanart.json',
        data_prefix=prefix,
    )
)
# Annotated boxes; with those of a detector mmpose's much larger ViTPose-S has AP 38.1.
val_set = dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='HumanArt/annotations/validation_humanart.json',
    bbox_file=None,
    data_prefix=prefix,
)
val_dataloader = dict(dataset=val_set)
test_dataloader = dict(dataset=val_set)
val_evaluator = dict(
    type='mmpose.CocoMetric',
    ann_file=f'{data_root}HumanArt/annotations/validation_humanart.json',
)
test_evaluator = val_evaluator
work_dir = 'work_dirs/vitpose_humanart_{{$SAIP_BACKBONE:vit-tiny-p16}}'
