# bash tools/dist_train.sh configs/pretrain/mae/mae-lite_vit-tiny-p16_8xb512-amp-coslr-400e-orig-recipe_lup1m.py 8
# mae-lite's recipe for ViT-Tiny; no figure of the paper, ImageNet fine-tuning of its authors: 78.0.
_base_ = [
    '../_base_/methods/mae-lite.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-400e_mae.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone={**_base_.backbone, **_base_.encoder_options})
train_dataloader = dict(batch_size=512)
