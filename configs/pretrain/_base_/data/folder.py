# Any folder of person crops: SAIP_FOLDER names it. One picture in ten, at most 1,000, is held
# back for the validation without labels.
_base_ = './paths.py'

person_folder = '{{$SAIP_FOLDER:data/crops}}'
train_dataloader = dict(
    dataset=dict(type='saip.PersonImages', data_root=person_folder, holdout=0.1)
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='saip.PersonImages',
        data_root=person_folder,
        holdout=0.1,
        part='held_back',
    ),
)
val_evaluator = dict(type='saip.TwoViewRecall')
val_cfg = dict()
