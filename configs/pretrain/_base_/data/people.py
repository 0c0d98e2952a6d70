# The synthetic persons in Market-1501 layout, drawn by tools/dataset_converters/make_people.py.
# Training on bounding_box_train without its labels; retrieval among other identities validates.
_base_ = './paths.py'
from saip.configs import variable

people_root = variable('SAIP_PEOPLE', 'data/people-quickstart')
train_dataloader = dict(
    dataset=dict(type='saip.PersonImages', data_root=people_root + '/bounding_box_train')
)
val_dataloader = dict(
    dataset=dict(type='saip.RetrievalImages', data_root=people_root, size=(256, 128))
)
val_evaluator = dict(type='saip.RetrievalMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
