# Where the pretraining sets are, and the loader that they share: the one place to set paths.
#
# SAIP_DATA moves all of them at once. A set is a folder that is searched for pictures
# (the release's LUP1M/train/*/ as it is), or the folder of a manifest made by
# tools/dataset_converters. See docs/data.md.
pretrain_root = '{{$SAIP_DATA:data}}'
person_sets = dict(
    LUP1M=dict(type='saip.PersonImages', data_root=pretrain_root + '/LUP1M'),
    LUP2M=dict(type='saip.PersonImages', data_root=pretrain_root + '/LUP2M'),
    LUP4M=dict(type='saip.PersonImages', data_root=pretrain_root + '/LUP4M'),
    HP1M=dict(type='saip.PersonImages', data_root=pretrain_root + '/HP1M'),
    IN1K=dict(type='saip.PersonImages', data_root=pretrain_root + '/IN1K'),
)
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
