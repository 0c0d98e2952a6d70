# The embedded people in Market-1501 layout, drawn by tools/dataset_converters/make_people.py.
# Training on bounding_box_train without its labels; retrieval among other identities validates.
_base_ = './paths.py'

people_root = '{{$SAIP_PEOPLE:data/people-quickstart}}'
train_dataloader = dict(
    dataset=dict(type='saip.PersonImages', data_root=people_root + '/bounding_box_train')
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='saip.RetrievalImages', data_root=people_root, size=(256, 128)),
)
val_evaluator = dict(type='saip.RetrievalMetric')
val_cfg = dict()
