# bash tools/dist_finetune.sh configs/downstream/pose/vitpose_humanart-coco.py vit-tiny-p16 BACKBONE.pth 8
# SAIP ViT-Tiny in the paper (Table VII): AP 67.5; here fine-tuned on HumanArt and COCO together,
# as its authors and mmpose do; the paper does not say. COCO's images lie in SAIP_DATA/coco.
_base_ = './vitpose_humanart.py'

train_dataloader = dict(
    dataset=dict(ann_file='HumanArt/annotations/training_humanart_coco.json')
)
work_dir = 'work_dirs/vitpose_humanart-coco_{{$SAIP_BACKBONE:vit-tiny-p16}}'
