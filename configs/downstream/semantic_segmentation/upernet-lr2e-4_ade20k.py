# bash tools/dist_finetune.sh configs/downstream/semantic_segmentation/upernet-lr2e-4_ade20k.py vit-base-p16 BACKBONE.pth 8
# CAE's paper and README: mIoU 49.7 with ViT-Base, pretrained for 800 epochs
_base_ = './upernet_ade20k.py'
optim_wrapper = dict(optimizer=dict(lr=2e-4))
work_dir = 'work_dirs/upernet-lr2e-4_ade20k_{{$SAIP_BACKBONE:vit-tiny-p16}}'
