# SAIP_KEYPOINTS=FILE bash tools/dist_train.sh configs/pretrain/hap/hap_vit-tiny-p16_8xb512-amp-coslr-400e-orig-recipe_lup1m.py 8
# HAP's own schedule, from scratch, where its release begins with weights of MAE (model.init_from). The paper has no figure for it.
_base_ = [
    '../_base_/methods/hap.py',
    '../_base_/data/lup1m.py',
    '../_base_/schedules/adamw-coslr-400e_mae.py',
    '../../_base_/backbones/vit-tiny-p16.py',
    '../../_base_/default_runtime.py',
]
model = dict(backbone=dict(**_base_.backbone, **_base_.encoder_options))
train_dataloader = dict(batch_size=512, dataset=dict(keypoints=_base_.keypoints))
