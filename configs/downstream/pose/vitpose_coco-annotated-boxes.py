# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_coco-annotated-boxes.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table II): AP 70.1, AR 73.3; here with annotated boxes, as its authors
# test, in place of a detector's. The training is vitpose_coco.py's: tools/test.py of this file takes
# its weights, too.
_base_ = './vitpose_coco.py'

val_dataloader = dict(dataset=dict(bbox_file=None))
test_dataloader = dict(dataset=dict(bbox_file=None))
work_dir = 'work_dirs/vitpose_coco-annotated-boxes_{{$SAIP_BACKBONE:vit-tiny-p16}}'
